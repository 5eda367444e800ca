import type { ErrorDialect } from '../../http/dialect.js';
import type { RequestError } from '../../platform/request-error.js';

/** Paths of the Nixtla protocol; KServe shares /v2 with it. */
export function isNixtlaPath(path: string): boolean {
  if (/^\/(model_params|usage|validate_api_key)\/?$/.test(path)) return true;
  return /^\/v2\/(forecast|cross_validation|anomaly_detection|online_anomaly_detection|finetune|finetuned_models|historic_forecast|async)(\/|$)/.test(
    path,
  );
}

/**
 * Errors as the service answers them that these clients were written for: 422 with FastAPI's list of details, anything else
 * with message, details and code. `detail` is there in both, because `validate_api_key` of the client prints it. The
 * top-level key `data`, which clients unwrap, is not used.
 */
export const NIXTLA_DIALECT: ErrorDialect = {
  claims: isNixtlaPath,
  contentType: 'application/json; charset=utf-8',
  body: (error, requestId) => (error.status === 422 ? fastApi(error, requestId) : plain(error, requestId)),
};

function fastApi(error: RequestError, requestId: string) {
  const issues =
    error.issues.length > 0 ? error.issues : [{ path: pathOf(error.where?.field ?? ''), message: textOf(error) }];
  return {
    detail: issues.map(({ path, message }) => ({
      loc: ['body', ...path],
      msg: message,
      type: error.code.toLowerCase(),
    })),
    requestID: requestId,
  };
}

/** `series.y[3]` as the parts of a path. */
const pathOf = (field: string) =>
  [...field.matchAll(/[^.[\]]+/g)].map(([part]) => (/^\d+$/.test(part) ? Number(part) : part));

const textOf = (error: RequestError) => {
  const series = error.where?.series;
  return `${series === undefined ? '' : `series ${series}: `}${error.message}${error.fix ? `; ${error.fix}` : ''}`;
};

const plain = (error: RequestError, requestId: string) => ({
  message: error.message,
  details: error.fix ?? '',
  detail: textOf(error),
  code: error.code,
  requestID: requestId,
});
