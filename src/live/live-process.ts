import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Backend } from '../engine/backend.js';
import { loadModel } from '../forecast/model/load.js';
import type { ForecasterModel } from '../forecast/model/model.js';
import { StreamBatch } from '../forecast/model/stream-batch.js';
import type { QueueConnection } from '../platform/embedded/services.js';
import { AdderError } from '../platform/errors.js';
import { openBackend } from '../platform/model/open-backend.js';
import { Database } from '../store/database.js';
import type { OutputHook } from './feed.js';
import { openRedis } from './live-client.js';
import { LiveOwner, type OwnerOptions } from './live-owner.js';
import { LogFollower } from './log/follower.js';
import { NOTIFYING_OUTPUTS, RedisPublisher } from './publish.js';

export interface LiveProcessOptions {
  databaseUrl: string;
  /** Connections to PostgreSQL. */
  databasePool: number;
  connection: QueueConnection;
  /** Folder or name of the model; `auto` takes LIVE_MODEL where it is installed. */
  model: string;
  /** `auto`, `webgpu` or `wasm`. */
  backend: string;
  leaseMs: number;
  hooks?: (database: Database) => readonly OutputHook[];
  onRound?: OwnerOptions['onRound'];
}

/** The forecaster made for live series: small, so that thousands of them can be stepped each second. */
export const LIVE_MODEL = 'forecaster-live';

function load(backend: Backend, model: string): ForecasterModel {
  if (model !== 'auto') return loadModel(backend, model);
  try {
    return loadModel(backend, LIVE_MODEL);
  } catch (error) {
    if (error instanceof AdderError && error.code === 'NO_MODEL') return loadModel(backend);
    throw error;
  }
}

/** A live worker: owns partitions when `start` returns, and has given them to the others when `stop` does. */
export class LiveProcess {
  private constructor(
    readonly database: Database,
    readonly owner: LiveOwner,
    readonly model: ForecasterModel,
    private readonly parts: { backend: Backend; batch: StreamBatch; follower: LogFollower; close: () => void },
  ) {}

  /** Throws AdderErrors: those of the database, `NO_MODEL`, `BAD_MODEL`, `NO_WEBGPU`. */
  static async start(options: LiveProcessOptions, log: Logger): Promise<LiveProcess> {
    const onError = (error: Error) => log.warn({ err: error }, 'the live side has trouble');
    const backend = await openBackend(options.backend === 'auto' ? undefined : options.backend);
    const model = load(backend, options.model);
    const batch = new StreamBatch(model);
    const database = await Database.open({ url: options.databaseUrl, poolSize: options.databasePool, onError });
    const id = randomUUID();
    const { connection } = options;
    const redis =
      connection.kind === 'redis'
        ? { blocking: openRedis(connection.url, onError), other: openRedis(connection.url, onError) }
        : undefined;
    const follower = new LogFollower({ database, consumer: id, onError, ...(redis ? { redis } : {}) });
    const owner = new LiveOwner({
      database,
      batch,
      follower,
      publisher: redis ? new RedisPublisher(redis.other, onError) : NOTIFYING_OUTPUTS,
      hooks: options.hooks?.(database) ?? [],
      id,
      leaseMs: options.leaseMs,
      onError,
      ...(options.onRound ? { onRound: options.onRound } : {}),
    });
    const close = () => redis?.other.disconnect();
    try {
      await owner.start();
    } catch (error) {
      await follower.close();
      close();
      await database.close();
      throw error;
    }
    log.info({ model: model.id, backend: backend.name, ...owner.held }, 'keeping live series');
    return new LiveProcess(database, owner, model, { backend, batch, follower, close });
  }

  async stop(): Promise<void> {
    const { backend, batch, follower, close } = this.parts;
    await this.owner.close();
    await follower.close();
    close();
    await batch.close();
    this.model.free();
    await backend.dispose();
    await this.database.close();
  }
}
