import type { ErrorDialect } from '../../http/dialect.js';
import { fieldOf } from '../../platform/request-error.js';

/** Errors of the Open Inference Protocol: one text. */
export const KSERVE_DIALECT: ErrorDialect = {
  claims: (path) => /^\/v2(\/?$|\/health\/|\/models\/)/.test(path),
  contentType: 'application/json; charset=utf-8',
  body: (error, requestId) => {
    const field = error.where?.field ?? (error.issues[0] ? fieldOf(error.issues[0].path) : '');
    return { error: `${field ? `${field}: ` : ''}${error.message}${error.fix ? `; ${error.fix}` : ''}`, requestId };
  },
};
