import { afterAll, beforeAll } from '@jest/globals';
import type { Backend } from '../../../src/engine/backend.js';
import { createWasmBackend } from '../../../src/engine/backends/wasm/index.js';
import { loadModel } from '../../../src/forecast/model/load.js';
import type { ForecasterModel } from '../../../src/forecast/model/model.js';
import { StreamBatch } from '../../../src/forecast/model/stream-batch.js';
import { ColumnStore } from '../../../src/forecast/series/columns.js';
import type { Ack, WriteOptions } from '../../../src/live/ingest.js';
import { LiveClient } from '../../../src/live/live-client.js';
import { type Services, startServices } from '../../../src/platform/embedded/services.js';
import { Database } from '../../../src/store/database.js';
import { Helper, scratch } from '../../service/support/processes.js';
import { randomModel } from './model.js';

export type Kind = 'redis' | 'postgres';

/** Real servers, a model, a client with doors' interfaces, and live workers as processes of their own. */
export interface Setting {
  services: Services;
  database: Database;
  client: LiveClient;
  folder: string;
  modelFolder: string;
  /** For the oracle. */
  batch: StreamBatch;
  errors: Error[];
  worker(options?: { leaseMs?: number; model?: string }): Promise<Helper>;
  write(
    points: readonly (readonly [string, number, number])[],
    options?: WriteOptions & { owner?: string },
  ): Promise<Ack>;
}

export const OWNER = { owner: 'ann', limits: { storedSeries: 100_000 } };

/** A setting for the tests of one file or one `describe`. */
export function setting(kind: Kind): Setting {
  const made = {} as Setting;
  const dir = scratch();
  let backend: Backend;
  let model: ForecasterModel;
  const helpers: Helper[] = [];
  beforeAll(async () => {
    const services = await startServices({
      dataDir: dir.path,
      databaseUrl: undefined,
      redisUrl: undefined,
      queue: kind,
    });
    const errors: Error[] = [];
    const database = await Database.open({ url: services.databaseUrl, poolSize: 6 });
    const client = await LiveClient.open({
      database,
      connection: services.queue,
      onError: (error) => errors.push(error),
    });
    const modelFolder = randomModel(dir.path);
    backend = await createWasmBackend();
    model = loadModel(backend, modelFolder);
    Object.assign(made, {
      services,
      database,
      client,
      folder: dir.path,
      modelFolder,
      batch: new StreamBatch(model),
      errors,
      worker: async ({ leaseMs = 5000, model: other = modelFolder } = {}) => {
        const { databaseUrl, queue } = services;
        const helper = Helper.start('test/live/support/live-worker.ts', [
          databaseUrl,
          queue.kind,
          queue.url,
          other,
          String(leaseMs),
        ]);
        helpers.push(helper);
        await helper.next();
        return helper;
      },
      write: (points, { owner = OWNER.owner, ...options } = {}) =>
        client.ingest.write({ ...OWNER, owner }, columnsOf(points), options),
    } satisfies Setting);
  }, 120_000);
  afterAll(async () => {
    for (const helper of helpers) if (helper.child.exitCode === null) await helper.kill();
    await made.client?.close();
    await made.database?.close();
    await made.batch?.close();
    model?.free();
    await backend?.dispose();
    await made.services?.close();
    dir.remove();
  });
  return made;
}

export function columnsOf(points: readonly (readonly [string, number, number])[]): ColumnStore {
  const rows = new ColumnStore();
  points.forEach(([series, time, value], i) => {
    rows.push(series, time, value, i + 1);
  });
  return rows;
}
