import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';
import type { ErrorPlace } from '../../platform/errors.js';

/** What the worker asks of its inference process. Arrays travel in their binary form (advanced serialization). */
export type Ask =
  | { id: number; kind: 'forecast'; model: string; requests: ForecastRequest[] }
  | { id: number; kind: 'describe'; model: string }
  | { id: number; kind: 'self-test'; model: string }
  | { id: number; kind: 'ping' };

/** A failure in a form that survives the way between processes. */
export interface SentError {
  code: string;
  message: string;
  where?: ErrorPlace;
  fix?: string;
}

/** One answer a request, so that a request which is at fault does not fail those that share its batch. */
export type ForecastAnswer = { result: ForecastResult } | { error: SentError };

export type Reply =
  | { id: number; kind: 'forecast'; answers: ForecastAnswer[]; info: ModelInfo }
  | { id: number; kind: 'describe'; info: ModelInfo }
  | { id: number; kind: 'self-test' }
  | { id: number; kind: 'ping' }
  | { id: number; kind: 'error'; error: SentError };

/** What computes. */
export interface ModelInfo {
  /** Name of the forecaster. */
  model: string;
  /** `webgpu`, `wasm`, or `javascript` for the statistical methods. */
  backend: string;
}
