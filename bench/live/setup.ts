/** The processes of the live side to be measured, each one a process of its own, as in production. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Random } from '../../src/engine/random.js';
import { ParameterLayout } from '../../src/engine/training/arena.js';
import { forecasterConfigSchema } from '../../src/forecast/model/config.js';
import { modelFolder, writeModel } from '../../src/forecast/model/load.js';
import { forecasterParameters } from '../../src/forecast/model/network.js';
import { ColumnStore } from '../../src/forecast/series/columns.js';
import { LiveClient } from '../../src/live/live-client.js';
import { LIVE_MODEL } from '../../src/live/live-process.js';
import { type Services, startServices } from '../../src/platform/embedded/services.js';
import { AdderError } from '../../src/platform/errors.js';
import { siblingModule } from '../../src/platform/sibling-module.js';
import { Database } from '../../src/store/database.js';

export const WRITER = { owner: 'local', limits: { storedSeries: 1_000_000 } };

export interface LiveSetup {
  services: Services;
  database: Database;
  /** Doors in this process: points in, forecasts out. */
  client: LiveClient;
  startLive(): Promise<ChildProcess>;
  startApi(): Promise<string>;
  stop(): Promise<void>;
}

/** The live model where it is installed, else random weights in its shape: the same work. */
export function liveModel(dir: string): { folder: string; note: string } {
  try {
    return { folder: modelFolder(LIVE_MODEL), note: LIVE_MODEL };
  } catch (error) {
    if (!(error instanceof AdderError)) throw error;
  }
  const config = forecasterConfigSchema.parse(JSON.parse(readFileSync('configs/forecaster-live.json', 'utf8')).model);
  const values = new ParameterLayout(forecasterParameters(config)).initial(new Random(1));
  const folder = join(dir, 'model');
  writeModel(folder, { name: 'random-live', config, values });
  return { folder, note: `random weights in the shape of ${LIVE_MODEL}` };
}

export async function startSetup(queue: 'redis' | 'postgres'): Promise<LiveSetup> {
  const dir = mkdtempSync(join(tmpdir(), 'adder-bench-'));
  const services = await startServices({ dataDir: dir, databaseUrl: undefined, redisUrl: undefined, queue });
  const { folder } = liveModel(dir);
  const database = await Database.open({ url: services.databaseUrl });
  const client = await LiveClient.open({ database, connection: services.queue });
  const env = {
    ...process.env,
    DATABASE_URL: services.databaseUrl,
    ADDER_QUEUE: queue,
    REDIS_URL: queue === 'redis' ? services.queue.url : '',
    ADDER_LIVE_MODEL: folder,
    ADDER_BACKEND: 'wasm',
    ADDER_LOG_LEVEL: 'warn',
    ADDER_RATE_PER_MINUTE: '10000000',
    ADDER_RATE_BURST: '1000000',
    ADDER_MAX_SERIES: '1000000',
    PORT: '0',
    HOST: '127.0.0.1',
  };
  const children: ChildProcess[] = [];
  const start = async (path: string) => {
    const { file, execArgv } = siblingModule(import.meta.url, path);
    const child = fork(file, [], { execArgv, stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env });
    children.push(child);
    for await (const line of createInterface({ input: child.stdout! })) {
      if (line.startsWith('{')) return { child, said: JSON.parse(line) as Record<string, unknown> };
    }
    throw new Error(`${path} ended before it was ready`);
  };
  return {
    services,
    database,
    client,
    startLive: async () => (await start('../../src/live.js')).child,
    startApi: async () => String((await start('../../src/main.js')).said.address),
    stop: async () => {
      for (const child of children.reverse()) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      await client.close();
      await database.close();
      await services.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resident memory of a process, bytes (Linux). */
export function residentBytes(pid: number): number {
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1024;
}

/** Processor time that a process has used, seconds (Linux, 100 ticks a second). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export function batchOf(points: Iterable<readonly [string, number, number]>): ColumnStore {
  const rows = new ColumnStore();
  let line = 1;
  for (const [series, time, value] of points) rows.push(series, time, value, line++);
  return rows;
}

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
