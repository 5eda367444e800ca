import { AdderError, type AdderErrorFields } from './errors.js';

/** One thing that is wrong with a request: where in the body (or query) it lies, and what is expected there. */
export interface Issue {
  path: (string | number)[];
  message: string;
}

export interface RequestErrorFields extends AdderErrorFields {
  status: number;
  issues?: Issue[];
  /** 0-based place of the series in the request. */
  index?: number;
  /** Seconds after which trying again makes sense. */
  retryAfter?: number;
}

/** An AdderError that knows how HTTP says it. */
export class RequestError extends AdderError {
  readonly status: number;
  readonly issues: Issue[];
  readonly index: number | undefined;
  readonly retryAfter: number | undefined;

  constructor(fields: RequestErrorFields) {
    super(fields);
    this.status = fields.status;
    this.issues = fields.issues ?? [];
    this.index = fields.index;
    this.retryAfter = fields.retryAfter;
  }
}

/** An error of one series of a request, with the place of the series added to what the thrower knew. */
export function inSeries(error: AdderError, index: number, id: string): RequestError {
  const { field } = error.where ?? {};
  return new RequestError({
    status: statusOf(error),
    code: error.code,
    message: error.message,
    where: { series: id, field: `series[${index}]${field ? `.${field}` : ''}` },
    fix: error.fix,
    index,
    cause: error,
  });
}

/** `series[3].values[17]` of a path. */
export function fieldOf(path: readonly (string | number)[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  );
}

/** Status by code; anything else that an AdderError says is a request that cannot be fulfilled as it stands. */
const STATUS: Record<string, number> = {
  BAD_JSON: 400,
  BAD_COMPRESSION: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  UNKNOWN_SERIES: 404,
  UNKNOWN_JOB: 404,
  UNKNOWN_OBJECT: 404,
  UNKNOWN_JOB_KIND: 404,
  NO_MODEL: 404,
  UNKNOWN_MODEL: 404,
  UNKNOWN_KEY: 404,
  MODEL_EXISTS: 409,
  CONFLICT: 409,
  TOO_MANY_JOBS: 429,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA: 415,
  TOO_MANY_SERIES: 422,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  DATABASE_BUSY: 503,
  DATABASE_UNREACHABLE: 503,
  OVERLOADED: 503,
  TIMEOUT: 503,
  INFERENCE_LOST: 503,
  QUEUE_UNREACHABLE: 503,
  JOB_LOST: 503,
  WORKER_LOST: 503,
  ATTEMPT_TIMEOUT: 503,
  NOT_READY: 503,
  DEADLINE_EXCEEDED: 504,
};

export function statusOf(error: AdderError): number {
  return error instanceof RequestError ? error.status : (STATUS[error.code] ?? 422);
}
