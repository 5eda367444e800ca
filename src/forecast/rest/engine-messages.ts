import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import type { EngineInfo } from './forecast-engine.js';

/** What the API process asks of its inference child, and what it answers. Arrays travel in their binary form. */
export type EngineAsk =
  | { id: number; kind: 'forecast'; model: string; requests: ForecastRequest[] }
  | { id: number; kind: 'describe'; model: string }
  | { id: number; kind: 'self-test'; model: string };

export type EngineReply =
  | { id: number; results: ForecastResult[] }
  | { id: number; info: EngineInfo }
  | { id: number; passed: true }
  | { id: number; error: { code: string; message: string; fix?: string | undefined; where?: object | undefined } };
