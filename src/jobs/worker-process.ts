import 'reflect-metadata';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Logger } from 'pino';
import { parseStack } from '../forecast/stack/stack.js';
import { LiveClient } from '../live/live-client.js';
import type { Config } from '../platform/config.js';
import type { Services } from '../platform/embedded/services.js';
import { nestLogger } from '../platform/logger.js';
import { Database } from '../store/database.js';
import { ObjectStore } from '../store/objects.js';
import { InferenceClient, type InferenceOptions } from './inference/client.js';
import { TunedFolders } from './inference/tuned-folders.js';
import { WorkerParts } from './kinds/worker-parts.js';
import { JobMetrics } from './metrics.js';
import { MetricsServer } from './metrics-server.js';
import { PROCESSORS } from './processors.js';
import type { RunOutcome } from './run.js';
import { JobSystem } from './system.js';
import { type AdderJobs, jobTable } from './table.js';
import type { JobWorker } from './worker.js';
import { ProcessorExplorer, WorkerModule } from './worker.module.js';

/** The worker of one process: takes jobs when `start` returns, and has given back or finished all of them when `stop` does. */
export class WorkerProcess {
  private constructor(
    private readonly metricsServer: MetricsServer | undefined,
    private readonly app: INestApplicationContext,
    readonly database: Database,
    private readonly folders: TunedFolders,
    private readonly live: LiveClient,
    readonly jobs: JobSystem<AdderJobs>,
    readonly inference: InferenceClient,
    readonly worker: JobWorker,
    readonly metrics: JobMetrics,
    private readonly config: Config,
  ) {}

  /** Throws AdderErrors: those of the database, `QUEUE_UNREACHABLE`, `JOB_PROCESSORS`. */
  static async start(
    config: Config,
    services: Pick<Services, 'databaseUrl' | 'queue'>,
    log: Logger,
    child?: InferenceOptions['child'],
  ): Promise<WorkerProcess> {
    // A wrong one stops the start instead of every forecast.
    parseStack(config.stack, 'ADDER_STACK');
    const metrics = new JobMetrics();
    let folders: TunedFolders | undefined;
    const inference = new InferenceClient({
      config,
      locate: async (model) => folders?.locate(model) ?? model,
      onBatch: metrics.batched,
      onRestart: (reason) => {
        metrics.restarted();
        log.warn({ reason }, 'the inference process ended; starting it again when it is needed');
      },
      onLine: (line) => log.debug({ line }, 'the inference process says'),
      ...(child ? { child } : {}),
    });
    let server: MetricsServer | undefined;
    let database: Database | undefined;
    let app: INestApplicationContext | undefined;
    let live: LiveClient | undefined;
    const onError = (error: Error) => log.warn({ err: error }, 'the queue or the database has trouble');
    try {
      const { host, workerMetricsPort: port } = config.server;
      server = port === undefined ? undefined : await MetricsServer.open(metrics.registry, host, port);
      database = await Database.open({ url: services.databaseUrl, poolSize: config.databasePool, onError });
      const options = {
        table: jobTable,
        database,
        connection: services.queue,
        maxUnfinished: config.limits.unfinishedJobs,
        onError,
      };
      folders = await TunedFolders.open(new ObjectStore(database));
      live = await LiveClient.open({ database, connection: services.queue, onError });
      const parts = new WorkerParts(config, database, inference, live.ingest);
      const module = WorkerModule.forRoot(options, inference, PROCESSORS, [{ provide: WorkerParts, useValue: parts }]);
      app = await NestFactory.createApplicationContext(module, { logger: nestLogger(log), abortOnError: false });
      const processors = app.get(ProcessorExplorer).processors(jobTable);
      const jobs = app.get<JobSystem<AdderJobs>>(JobSystem);
      const worker = await jobs.work(processors, {
        lockMs: config.jobs.lockMs,
        retentionMs: config.jobs.retentionMs,
        concurrency: { interactive: config.jobs.interactiveConcurrency, batch: config.jobs.batchConcurrency },
        onError,
        onRestored: (count) => {
          metrics.queuedAgain(count);
          log.warn({ count }, 'jobs that the queue had lost were queued again');
        },
        onRun: (run) => {
          metrics.ran(run);
          logRun(log, run);
        },
      });
      metrics.watch(jobs.queues, inference);
      return new WorkerProcess(server, app, database, folders, live, jobs, inference, worker, metrics, config);
    } catch (error) {
      await server?.close();
      await app?.close();
      await live?.close();
      await inference.close();
      await folders?.close();
      await database?.close();
      throw error;
    }
  }

  /** Where Prometheus finds the metrics of this worker; undefined where it is not configured. */
  get metricsAddress(): string | undefined {
    return this.metricsServer?.address;
  }

  /** Takes no more jobs, lets running ones finish for as long as is configured, then closes everything. */
  async stop(): Promise<void> {
    await this.metricsServer?.close();
    // Workers before queues, queues before what jobs work with.
    await this.jobs.close(this.config.server.shutdownMs);
    await this.app.close();
    await this.live.close();
    await this.inference.close();
    await this.folders.close();
    await this.database.close();
  }
}

function logRun(log: Logger, run: { id: string; kind: string; outcome: RunOutcome; ms: number }): void {
  const { id, kind, outcome } = run;
  const fields = { jobId: id, kind, ms: Math.round(run.ms) };
  if (!('error' in outcome)) log.debug(fields, `job ${outcome.status}`);
  else {
    // A request at fault is its sender's affair; what is unforeseen is ours.
    const ours = outcome.error.code === 'INTERNAL' || outcome.status === 'retry';
    const cause = 'cause' in outcome ? outcome.cause : undefined;
    log[ours ? 'warn' : 'info'](
      { ...fields, error: outcome.error, ...(ours ? { err: cause } : {}) },
      `job ${outcome.status}`,
    );
  }
}
