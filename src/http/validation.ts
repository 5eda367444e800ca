import { StandardSchemaValidationPipe } from '@nestjs/common';
import { type Issue, RequestError } from '../platform/request-error.js';

/** Nest's own pipe over zod schemas, with every issue and its path in the error. */
export function validationPipe(): StandardSchemaValidationPipe {
  return new StandardSchemaValidationPipe({
    exceptionFactory: (issues) => {
      const found: Issue[] = issues.slice(0, 20).map(({ message, path }) => ({
        message,
        path: (path ?? []).map((part) => {
          const key = typeof part === 'object' ? part.key : part;
          return typeof key === 'number' ? key : String(key);
        }),
      }));
      const index = found[0]?.path[0] === 'series' ? found[0].path[1] : undefined;
      return new RequestError({
        status: 422,
        code: 'INVALID_REQUEST',
        message: found[0]?.message ?? 'the request is not valid',
        issues: found,
        ...(typeof index === 'number' ? { index } : {}),
        fix: 'see /docs for the fields of this request',
      });
    },
  });
}
