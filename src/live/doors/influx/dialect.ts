import type { ErrorDialect } from '../../../http/dialect.js';
import type { RequestError } from '../../../platform/request-error.js';

/** Codes of InfluxDB 2 by status. */
const CODES: Record<number, string> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not found',
  405: 'method not allowed',
  413: 'request too large',
  415: 'invalid',
  422: 'unprocessable entity',
  429: 'too many requests',
  500: 'internal error',
  503: 'unavailable',
};

const said = ({ code, message, fix }: RequestError) =>
  // The words of a refused line are InfluxDB's own; clients search in them.
  code === 'LINE_PROTOCOL' || !fix ? message : `${message}; ${fix}`;

/** Errors of InfluxDB 2: `{"code", "message"}`. */
export const INFLUX2_DIALECT: ErrorDialect = {
  claims: (path) => path === '/api/v2/write',
  contentType: 'application/json; charset=utf-8',
  body: (error) => ({ code: CODES[error.status] ?? 'invalid', message: said(error) }),
};

/** Errors of InfluxDB 1: `{"error"}`. */
export const INFLUX1_DIALECT: ErrorDialect = {
  claims: (path) => path === '/write' || path === '/query' || path === '/ping',
  contentType: 'application/json; charset=utf-8',
  body: (error) => ({ error: said(error) }),
};
