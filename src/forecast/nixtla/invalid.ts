import { RequestError } from '../../platform/request-error.js';

/** A 422 in the words of this protocol: where in the body, and what is wrong. */
export function invalid(message: string, field: string, fix = ''): RequestError {
  const path = [...field.matchAll(/[^.[\]]+/g)].map(([part]) => (/^\d+$/.test(part) ? Number(part) : part));
  return new RequestError({
    status: 422,
    code: 'VALUE_ERROR',
    message,
    issues: [{ path, message }],
    ...(fix ? { fix } : {}),
  });
}
