import { HttpException } from '@nestjs/common';
import { type AdderError, toAdderError } from '../platform/errors.js';
import { fieldOf, RequestError, statusOf } from '../platform/request-error.js';

/** The body of an error under RFC 9457 (`application/problem+json`). */
export interface Problem {
  /** `urn:adder:problem:` and the code in lower case. */
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  /** Name of the series that is to blame. */
  series?: string;
  /** 0-based place of that series in the request. */
  index?: number;
  /** Path of the field, as in `series[3].values[17]`. */
  field?: string;
  /** 1-based line of a CSV or NDJSON body. */
  line?: number;
  fix?: string;
  /** All that validation found, at most twenty. */
  errors?: { field: string; message: string }[];
  requestId: string;
}

const TITLES: Record<number, string> = {
  400: 'Bad request',
  401: 'Unauthenticated',
  403: 'Forbidden',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Too slow',
  409: 'Conflict',
  413: 'Request too large',
  414: 'Address too long',
  415: 'Unsupported media type',
  422: 'Unprocessable request',
  429: 'Too many requests',
  431: 'Headers too large',
  500: 'Internal error',
  501: 'Not available',
  503: 'Temporarily unavailable',
  504: 'Not finished in time',
};

export const titleOf = (status: number) => TITLES[status] ?? 'Error';

const CODES: Record<number, string> = {
  400: 'BAD_REQUEST',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  413: 'BODY_TOO_LARGE',
  414: 'PATH_TOO_LONG',
  415: 'UNSUPPORTED_MEDIA',
};

/** Whatever was thrown while a request was answered, as one kind of error. */
export function asRequestError(thrown: unknown): RequestError {
  if (thrown instanceof RequestError) return thrown;
  const framework = frameworkStatus(thrown);
  if (framework !== undefined && framework < 500) {
    const message = (thrown as Error).message;
    return new RequestError({
      status: framework,
      code: CODES[framework] ?? 'BAD_REQUEST',
      message: framework === 404 ? message.replace(/^Cannot /, 'there is no ') : message,
      fix: framework === 404 ? 'see /docs for what there is' : 'correct the request',
      cause: thrown,
    });
  }
  const known: AdderError = storeFailure(thrown) ?? unstorableText(thrown) ?? toAdderError(thrown);
  const status = statusOf(known);
  return new RequestError({
    status,
    code: known.code,
    message: status === 500 ? 'something failed that should not' : known.message,
    ...(status === 500 || !known.where ? {} : { where: known.where }),
    fix: status === 500 ? 'this is a defect of Adder; report it with the requestId' : known.fix,
    ...(status === 503 ? { retryAfter: (known as { retryAfter?: number }).retryAfter ?? 2 } : {}),
    cause: thrown,
  });
}

/** Errors of Nest and of Fastify carry a status. */
function frameworkStatus(thrown: unknown): number | undefined {
  if (thrown instanceof HttpException) return thrown.getStatus();
  const { statusCode, code } = (thrown ?? {}) as { statusCode?: unknown; code?: unknown };
  return typeof statusCode === 'number' && typeof code === 'string' && code.startsWith('FST_') ? statusCode : undefined;
}

/** A database that is away, restarting or out of connections is not a defect: the same request may succeed soon. */
function storeFailure(thrown: unknown): RequestError | undefined {
  const { code, message } = (thrown ?? {}) as { code?: unknown; message?: unknown };
  const text = String(message ?? '');
  const away =
    (typeof code === 'string' && /^(08|57P|53)|^ECONN|^EPIPE$|^P10(01|02|08|17)$|^P20(24|28|37)$/.test(code)) ||
    /timeout exceeded when trying to connect|Connection terminated|Connection ended|not queryable/.test(text);
  if (!away) return undefined;
  return new RequestError({
    status: 503,
    code: 'DATABASE_UNREACHABLE',
    message: 'the database does not answer',
    fix: 'try again shortly',
    retryAfter: 2,
    cause: thrown,
  });
}

/** PostgreSQL's text cannot hold U+0000, nor its JSON half a surrogate pair; no column of ours needs either. */
function unstorableText(thrown: unknown): RequestError | undefined {
  const { code, message, meta, cause } = (thrown ?? {}) as Record<string, unknown>;
  const inner = [meta, cause].find((part) => typeof part === 'object' && part !== null);
  const json = code === '22P02' && String(message).endsWith('type json');
  if (code !== '22021' && code !== '22P05' && !json) {
    const deeper = inner ?? (thrown as { driverAdapterError?: unknown } | null)?.driverAdapterError;
    return deeper === undefined ? undefined : unstorableText(deeper);
  }
  return new RequestError({
    status: 422,
    code: 'BAD_TEXT',
    message: 'a text in this request holds a character that cannot be stored: U+0000 or half a surrogate pair',
    fix: 'remove it',
    cause: thrown,
  });
}

export function problemOf(error: RequestError, requestId: string): Problem {
  const first = error.issues[0];
  const field = error.where?.field ?? (first ? fieldOf(first.path) : undefined);
  return {
    type: `urn:adder:problem:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title: titleOf(error.status),
    status: error.status,
    detail: error.message,
    code: error.code,
    ...(error.where?.series === undefined ? {} : { series: error.where.series }),
    ...(error.index === undefined ? {} : { index: error.index }),
    ...(field ? { field } : {}),
    ...(error.where?.line === undefined ? {} : { line: error.where.line }),
    ...(error.fix ? { fix: error.fix } : {}),
    ...(error.issues.length > 0
      ? { errors: error.issues.slice(0, 20).map(({ path, message }) => ({ field: fieldOf(path), message })) }
      : {}),
    requestId,
  };
}
