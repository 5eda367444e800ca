import { Inject } from '@nestjs/common';
import { ModelNames } from '../../forecast/model-names.js';
import { ForecastService } from '../../forecast/rest/forecast-service.js';
import type { Ingest } from '../../live/ingest.js';
import type { Config } from '../../platform/config.js';
import type { Database } from '../../store/database.js';
import { ModelStore } from '../../store/models.js';
import { ObjectStore } from '../../store/objects.js';
import { PointReader } from '../../store/point-reader.js';
import { ResultStore } from '../../store/results.js';
import { SeriesStore } from '../../store/series.js';
import { PATIENT } from '../inference/batch-queue.js';
import type { InferenceClient } from '../inference/client.js';
import { JobLedger } from '../ledger.js';
import type { JobContext } from '../processor.js';
import { BatchEngine } from './batch-engine.js';

/** What processors work with. */
export class WorkerParts {
  readonly series: SeriesStore;
  readonly reader: PointReader;
  readonly results: ResultStore;
  readonly objects: ObjectStore;
  readonly models: ModelStore;
  readonly names: ModelNames;

  readonly ledger: JobLedger;

  constructor(
    readonly config: Config,
    readonly database: Database,
    readonly inference: InferenceClient,
    readonly ingest: Ingest,
  ) {
    this.series = new SeriesStore(database);
    this.reader = new PointReader(database);
    this.results = new ResultStore(database);
    this.objects = new ObjectStore(database);
    this.models = new ModelStore(database);
    this.names = new ModelNames(this.models);
    this.ledger = new JobLedger(database);
  }

  /** Forecasts for a run, behind those that somebody waits for. */
  engine({ signal, deadline }: Pick<JobContext, 'signal' | 'deadline'>): BatchEngine {
    return new BatchEngine(this.inference, { priority: PATIENT, signal, ...(deadline ? { deadline } : {}) });
  }

  forecasts(run: Pick<JobContext, 'signal' | 'deadline'>): ForecastService {
    return new ForecastService(this.engine(run), this.names);
  }

  /** What one request may hold, for functions that doors and jobs share. */
  get limits() {
    const { seriesPerRequest, pointsPerRequest, horizon, storedSeries } = this.config.limits;
    return { seriesPerRequest, pointsPerRequest, horizon, storedSeries };
  }
}

/** Constructor parameter of a processor: the WorkerParts. */
export const InjectParts = () => Inject(WorkerParts);
