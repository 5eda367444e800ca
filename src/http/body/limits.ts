import { RequestError } from '../../platform/request-error.js';

/** How a body is stored in the request. */
export type Encoding = 'identity' | 'gzip' | 'deflate' | 'br' | 'zstd';

const ENCODINGS: readonly string[] = ['identity', 'gzip', 'deflate', 'br', 'zstd'];

export function encodingOf(header: string | string[] | undefined): Encoding {
  const text =
    String(header ?? 'identity')
      .trim()
      .toLowerCase() || 'identity';
  const name = text === 'x-gzip' ? 'gzip' : text;
  if (ENCODINGS.includes(name)) return name as Encoding;
  throw new RequestError({
    status: 415,
    code: 'UNSUPPORTED_MEDIA',
    message: `the content encoding ${JSON.stringify(name.slice(0, 40))} is not known`,
    where: { field: 'content-encoding' },
    fix: 'use gzip, deflate, br or zstd, or send the body as it is',
  });
}

export function tooLarge(limit: number, cause?: unknown): RequestError {
  return new RequestError({
    status: 413,
    code: 'BODY_TOO_LARGE',
    message: `the body is larger than ${Math.floor(limit / 2 ** 20)} MiB after decompression`,
    fix: 'send it in parts, or raise ADDER_MAX_BODY_MB',
    cause,
  });
}

export function badCompression(encoding: string, cause: unknown): RequestError {
  return new RequestError({
    status: 400,
    code: 'BAD_COMPRESSION',
    message: `the body is not valid ${encoding}`,
    where: { field: 'content-encoding' },
    fix: 'check how it was compressed, and that it arrived whole',
    cause,
  });
}

export function badJson(message: string, fix = 'send valid JSON in UTF-8'): RequestError {
  return new RequestError({ status: 400, code: 'BAD_JSON', message, fix });
}
