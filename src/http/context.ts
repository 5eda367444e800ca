import { Inject } from '@nestjs/common';
import type { Logger } from 'pino';
import type { ForecastEngine } from '../forecast/rest/forecast-engine.js';
import type { ForecastService } from '../forecast/rest/forecast-service.js';
import type { JobSystem } from '../jobs/system.js';
import type { AdderJobs } from '../jobs/table.js';
import type { LiveClient } from '../live/live-client.js';
import type { Config } from '../platform/config.js';
import type { Readiness } from '../platform/rest/readiness.js';
import type { Database } from '../store/database.js';
import type { PointReader } from '../store/point-reader.js';
import type { SeriesStore } from '../store/series.js';
import type { ApiKeys } from './auth/api-keys.js';
import type { Usage } from './usage.js';

/** What the API process is made of; controllers take the parts that they need. */
export interface ApiContext {
  config: Config;
  log: Logger;
  database: Database;
  keys: ApiKeys;
  engine: ForecastEngine;
  forecasts: ForecastService;
  series: SeriesStore;
  reader: PointReader;
  readiness: Readiness;
  usage: Usage;
  jobs: JobSystem<AdderJobs>;
  live: LiveClient;
}

export const API = Symbol('adder api');

/** Constructor parameter: the ApiContext. */
export const InjectApi = () => Inject(API);
