import type { RequestError } from '../platform/request-error.js';
import { problemOf } from './problem.js';

/** How the errors of one protocol are written. */
export interface ErrorDialect {
  claims(path: string): boolean;
  contentType: string;
  body(error: RequestError, requestId: string): unknown;
}

export const PROBLEM_DIALECT: ErrorDialect = {
  claims: () => true,
  contentType: 'application/problem+json; charset=utf-8',
  body: problemOf,
};
