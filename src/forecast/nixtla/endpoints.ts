import type { Account } from '../../platform/account.js';
import type { ForecastService } from '../rest/forecast-service.js';
import { detectAnomalies, detectOnline } from './anomalies.js';
import { crossValidation, forecast, inSample } from './forecasting.js';
import type {
  AnomalyInput,
  CrossValidationInput,
  ForecastInput,
  HistoricInput,
  OnlineAnomalyInput,
} from './schemas.js';

/** Requests that are answered at once or, with `/async`, by a job. */
export interface Endpoints {
  forecast: ForecastInput;
  cross_validation: CrossValidationInput;
  anomaly_detection: AnomalyInput;
  online_anomaly_detection: OnlineAnomalyInput;
  historic_forecast: HistoricInput;
}

export type EndpointName = keyof Endpoints;

/** The answer to a request. Throws RequestErrors in the words of the protocol, and those of the engine. */
export function answerRequest<K extends EndpointName>(
  endpoint: K,
  service: ForecastService,
  account: Account,
  input: Endpoints[K],
  signal: AbortSignal,
): Promise<object> {
  switch (endpoint) {
    case 'forecast':
      return forecast(service, account, input as ForecastInput, signal);
    case 'cross_validation':
      return crossValidation(service, account, input as CrossValidationInput, signal);
    case 'anomaly_detection':
      return detectAnomalies(service, account, input as AnomalyInput, signal);
    case 'online_anomaly_detection':
      return detectOnline(service, account, input as OnlineAnomalyInput, signal);
    default:
      return inSample(service, account, input as HistoricInput, null, signal);
  }
}
