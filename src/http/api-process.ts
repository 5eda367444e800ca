import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { AudioDoors, ClipScanner } from '../audio/audio-doors.js';
import { ModelNames } from '../forecast/model-names.js';
import { ForecastService } from '../forecast/rest/forecast-service.js';
import { QueueEngine } from '../jobs/forecast/queue-engine.js';
import { JobSystem } from '../jobs/system.js';
import { type AdderJobs, jobTable } from '../jobs/table.js';
import { LiveDoors } from '../live/doors/live-doors.js';
import { LiveClient } from '../live/live-client.js';
import type { Config } from '../platform/config.js';
import type { Services } from '../platform/embedded/services.js';
import { AdderError } from '../platform/errors.js';
import { HttpMetrics } from '../platform/rest/http-metrics.js';
import { Readiness } from '../platform/rest/readiness.js';
import { Database } from '../store/database.js';
import { ModelStore } from '../store/models.js';
import { PointReader } from '../store/point-reader.js';
import { SeriesStore } from '../store/series.js';
import { createApp } from './app.js';
import { ApiKeys } from './auth/api-keys.js';
import { isLoopback } from './auth/authenticate.js';
import type { ApiContext } from './context.js';
import { OpenApiHolder } from './docs.controller.js';
import { openApiDocument } from './openapi.js';
import { bodyOf, CONTROLLERS, DIALECTS, isOpenPath, takesBytes, takesTail } from './routes.js';
import { Usage } from './usage.js';

/** A stopping process looks this often for connections that have become idle. */
const IDLE_MS = 100;

/** The API of one process: listens when `start` returns, and has let go of everything when `stop` does. */
export class ApiProcess {
  private constructor(
    readonly app: NestFastifyApplication,
    readonly address: string,
    private readonly api: ApiContext,
    private readonly doors: LiveDoors,
    private readonly audio: AudioDoors,
  ) {}

  /** Throws AdderErrors: those of the database, and `NO_KEYS` where it would listen to the network without any key. */
  static async start(
    config: Config,
    services: Pick<Services, 'databaseUrl' | 'queue'>,
    log: Logger,
  ): Promise<ApiProcess> {
    const database = await Database.open({
      url: services.databaseUrl,
      poolSize: config.databasePool,
      onError: (error) => log.warn({ err: error }, 'an idle database connection broke'),
    });
    let jobs: JobSystem<AdderJobs> | undefined;
    let live: LiveClient | undefined;
    try {
      const keys = new ApiKeys(database);
      if (!isLoopback(config.server.host) && !(await keys.any())) throw noKeys(config.server.host);
      jobs = await JobSystem.open({
        table: jobTable,
        database,
        connection: services.queue,
        maxUnfinished: config.limits.unfinishedJobs,
        onError: (error) => log.warn({ err: error }, 'the queue has trouble'),
      });
      live = await LiveClient.open({
        database,
        connection: services.queue,
        onError: (error) => log.warn({ err: error }, 'the live side has trouble'),
      });
      const engine = new QueueEngine(jobs.client, { config });
      const api: ApiContext = {
        config,
        log,
        database,
        keys,
        engine,
        forecasts: new ForecastService(engine, new ModelNames(new ModelStore(database))),
        series: new SeriesStore(database),
        reader: new PointReader(database),
        readiness: new Readiness(engine, database, log),
        usage: new Usage(),
        jobs,
        live,
      };
      const audio = new AudioDoors(api);
      const holder = new OpenApiHolder();
      const metrics = new HttpMetrics();
      const app = await createApp(api, {
        controllers: CONTROLLERS,
        dialects: DIALECTS,
        open: isOpenPath,
        takesBytes,
        takesTail,
        bodyOf,
        metrics,
        providers: [
          { provide: OpenApiHolder, useValue: holder },
          { provide: HttpMetrics, useValue: metrics },
          { provide: ClipScanner, useValue: audio.clips },
        ],
      });
      holder.document = openApiDocument(app);
      const doors = await LiveDoors.open(api, app.getHttpServer(), metrics.registry, audio.sockets);
      await app.listen(config.server.port, config.server.host);
      api.readiness.start();
      const { port } = app.getHttpServer().address() as { port: number };
      const host = config.server.host.includes(':') ? `[${config.server.host}]` : config.server.host;
      return new ApiProcess(app, `http://${host}:${port}`, api, doors, audio);
    } catch (error) {
      await live?.close();
      await jobs?.close();
      await database.close();
      throw error;
    }
  }

  /** Refuses new requests, lets running ones finish for as long as is configured, then closes everything. */
  async stop(): Promise<void> {
    const { readiness, config, database, jobs, live } = this.api;
    readiness.stop();
    const server = this.app.getHttpServer();
    const timer = setTimeout(() => server.closeAllConnections(), config.server.shutdownMs);
    // A connection whose last request was under way when the closing began would otherwise stay open, idle.
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_MS);
    await Promise.all([this.doors.close(), this.audio.close()]);
    await this.app.close();
    await this.audio.end();
    clearTimeout(timer);
    clearInterval(idle);
    await live.close();
    await jobs.close();
    await database.close();
  }
}

const noKeys = (host: string) =>
  new AdderError({
    code: 'NO_KEYS',
    message: `HOST=${host} would open this service to the network, and no API key exists`,
    where: { field: 'HOST' },
    fix: 'start it on 127.0.0.1, create a key with POST /v1/keys, then start it again',
  });
