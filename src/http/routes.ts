import type { Type } from '@nestjs/common';
import { ClipsController } from '../audio/rest/clips.controller.js';
import { KSERVE_DIALECT } from '../forecast/kserve/dialect.js';
import { KserveController } from '../forecast/kserve/kserve.controller.js';
import { NixtlaAsyncController } from '../forecast/nixtla/async.controller.js';
import { NIXTLA_DIALECT } from '../forecast/nixtla/dialect.js';
import { NixtlaController } from '../forecast/nixtla/nixtla.controller.js';
import { AnomaliesController } from '../forecast/rest/anomalies.controller.js';
import { BacktestsController } from '../forecast/rest/backtests.controller.js';
import { ForecastsController } from '../forecast/rest/forecasts.controller.js';
import { FlowsController } from '../jobs/rest/flows.controller.js';
import { JobsController } from '../jobs/rest/jobs.controller.js';
import { AlertsController } from '../live/doors/alerts/alerts.controller.js';
import { INFLUX1_DIALECT, INFLUX2_DIALECT } from '../live/doors/influx/dialect.js';
import { InfluxController } from '../live/doors/influx/influx.controller.js';
import { OutputsController } from '../live/doors/out/outputs.controller.js';
import { RemoteWriteController } from '../live/doors/prometheus/remote-write.controller.js';
import { StreamController } from '../live/doors/stream/stream.controller.js';
import { HealthController } from '../platform/rest/health.controller.js';
import { KeysController } from '../platform/rest/keys.controller.js';
import { MetricsController } from '../platform/rest/metrics.controller.js';
import { ModelsController } from '../platform/rest/models.controller.js';
import { PointsController, SeriesController } from '../store/rest/series.controller.js';
import type { BodyForm } from './app.js';
import type { ErrorDialect } from './dialect.js';
import { DocsController } from './docs.controller.js';

/** Every door of the API process. */
export const CONTROLLERS: Type[] = [
  ForecastsController,
  AnomaliesController,
  BacktestsController,
  SeriesController,
  PointsController,
  JobsController,
  FlowsController,
  NixtlaController,
  NixtlaAsyncController,
  KserveController,
  InfluxController,
  RemoteWriteController,
  StreamController,
  OutputsController,
  AlertsController,
  ClipsController,
  ModelsController,
  KeysController,
  HealthController,
  MetricsController,
  DocsController,
];

/** Protocols whose errors look different from ours. */
export const DIALECTS: ErrorDialect[] = [NIXTLA_DIALECT, KSERVE_DIALECT, INFLUX2_DIALECT, INFLUX1_DIALECT];

/** Paths that are answered without a key: what load balancers, Prometheus and readers of the documentation ask for. */
export function isOpenPath(path: string): boolean {
  return /^\/(health\/(live|ready)|metrics|docs(\/[\w.-]+)?|v2|v2\/health\/(live|ready))$/.test(path);
}

/** Paths that take CSV and NDJSON beside JSON. */
export function takesBytes(path: string): boolean {
  return /^\/v1\/(points|uploads|series\/[^/]+\/points)$/.test(path);
}

/** Paths that take bytes behind their JSON: the binary tensors of KServe. */
export function takesTail(path: string): boolean {
  return /^\/v2\/models\/[^/]+(\/versions\/1)?\/infer$/.test(path);
}

/** Paths whose protocol fixes what the body is. */
export function bodyOf(path: string): BodyForm | undefined {
  if (path === '/api/v2/write' || path === '/write' || path === '/query') return 'bytes';
  if (path === '/v1/audio/clips') return 'bytes';
  if (path === '/v1/live/points') return 'stream';
  return path === '/api/v1/write' ? 'raw' : undefined;
}
