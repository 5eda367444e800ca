import type { ForecastRequest, ForecastResult } from '../forecaster.js';

/** What computed an answer. */
export interface EngineInfo {
  /** Name of the forecaster, e.g. `forecaster-5m` or `theta`. */
  model: string;
  /** `webgpu`, `wasm`, or `javascript` for the statistical methods. */
  backend: string;
}

export interface EngineOptions {
  /** Name from the catalogue; the configured one when absent. */
  model?: string | undefined;
  /** Work that has not begun when this aborts is dropped. */
  signal?: AbortSignal;
}

/** Where the doors send their forecasts. The process that answers HTTP computes none itself. */
export interface ForecastEngine {
  /**
   * Results in the order of the requests. AdderErrors: those of the forecaster; `OVERLOADED` when too much waits already;
   * `INFERENCE_LOST` when the process that computes died again and again.
   */
  forecast(requests: ForecastRequest[], options?: EngineOptions): Promise<ForecastResult[]>;
  /** Loads the model if need be and says what runs it. */
  describe(model?: string): Promise<EngineInfo>;
  /** Forecasts a known series and compares; throws when the answer is not what it must be. */
  selfTest(): Promise<void>;
  close(): Promise<void>;
}
