import type { ForecastRequest, ForecastResult, RollRequest, RollResult } from '../../forecast/forecaster.js';
import type { ErrorPlace } from '../../platform/errors.js';

/** What series are asked about, and what the answer of each is. */
export interface Works {
  forecast: { request: ForecastRequest; result: ForecastResult };
  /** Of models that roll only. */
  roll: { request: RollRequest; result: RollResult };
}

export type WorkKind = keyof Works;

/** What the worker asks of its inference process. Arrays travel in their binary form (advanced serialization). */
export type Ask =
  | { id: number; kind: WorkKind; model: string; requests: Works[WorkKind]['request'][] }
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
export type WorkAnswer = { result: Works[WorkKind]['result'] } | { error: SentError };

export type Reply =
  | { id: number; kind: WorkKind; answers: WorkAnswer[]; info: ModelInfo }
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
  /** Where the model gives forecasts of many origins out of one scan: origins so far apart share one, and each looks so far ahead. */
  rollStep?: number;
}
