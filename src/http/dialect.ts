import type { RequestError } from '../platform/request-error.js';
import { problemOf } from './problem.js';

/** How the errors of one protocol are written. */
export interface ErrorDialect {
  claims(path: string): boolean;
  contentType: string;
  /** Another error where the protocol has another status for it. */
  adapt?(error: RequestError, path: string): RequestError;
  body(error: RequestError, requestId: string): unknown;
}

export const PROBLEM_DIALECT: ErrorDialect = {
  claims: () => true,
  contentType: 'application/problem+json; charset=utf-8',
  body: problemOf,
};
