/**
 * What the way through store, queue, worker and inference process costs: forecasts by the naive method, which computes
 * nothing, from a real worker process.
 *
 *   node dist/bench/service/queue.js [--out FILE] [--seconds 8]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { ForecastRequest } from '../../src/forecast/forecaster.js';
import { QueueEngine } from '../../src/jobs/forecast/queue-engine.js';
import { JobSystem } from '../../src/jobs/system.js';
import { jobTable } from '../../src/jobs/table.js';
import { loadConfig } from '../../src/platform/config.js';
import { findRedisServer } from '../../src/platform/embedded/redis.js';
import { startServices } from '../../src/platform/embedded/services.js';
import { siblingModule } from '../../src/platform/sibling-module.js';
import { Database } from '../../src/store/database.js';
import { publish, quantile, type Row, report } from '../measure.js';

const request = (): ForecastRequest => ({
  history: Float64Array.from({ length: 512 }, (_, i) => Math.sin(i / 4) * 10 + i / 50),
  horizon: 24,
  season: 24,
  frequency: 'H',
  quantiles: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
});

/** Latencies in ascending order, and calls a second, of `clients` callers in a closed loop. */
async function load(engine: QueueEngine, clients: number, seconds: number) {
  const latencies: number[] = [];
  const begin = performance.now();
  const end = begin + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end) {
        const since = performance.now();
        await engine.forecast([request()]);
        latencies.push(performance.now() - since);
      }
    }),
  );
  const rate = latencies.length / ((performance.now() - begin) / 1000);
  return { latencies: latencies.sort((a, b) => a - b), rate };
}

async function measure(kind: 'redis' | 'postgres', seconds: number): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'adder-bench-'));
  const services = await startServices({ dataDir: dir, databaseUrl: undefined, redisUrl: undefined, queue: kind });
  const database = await Database.open({ url: services.databaseUrl });
  const jobs = await JobSystem.open({ table: jobTable, database, connection: services.queue, maxUnfinished: 10_000 });
  const { file, execArgv } = siblingModule(import.meta.url, '../../src/worker.js');
  const worker = fork(file, [], {
    execArgv,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {
      ...process.env,
      DATABASE_URL: services.databaseUrl,
      ADDER_QUEUE: kind,
      REDIS_URL: kind === 'redis' ? services.queue.url : '',
      ADDER_MODEL: 'naive',
      ADDER_LOG_LEVEL: 'warn',
    },
  });
  try {
    await once(worker.stdout!, 'data');
    const engine = new QueueEngine(jobs.client, { config: loadConfig({ ADDER_MODEL: 'naive' }) });
    await load(engine, 16, 3);
    const one = await load(engine, 1, seconds);
    const many = await load(engine, 64, seconds);
    const row = (name: string, value: number, unit: string, extra: Partial<Row> = {}): Row => ({
      name: `${kind}: ${name}`,
      value,
      unit,
      ...extra,
    });
    return [
      row('one client, median', quantile(one.latencies, 0.5), 'ms'),
      row('one client, 99th percentile', quantile(one.latencies, 0.99), 'ms'),
      row('64 clients, median', quantile(many.latencies, 0.5), 'ms'),
      row('64 clients, 99th percentile', quantile(many.latencies, 0.99), 'ms'),
      row('64 clients, forecasts', many.rate, '/s', { higher: true }),
    ];
  } finally {
    const ended = once(worker, 'exit');
    worker.kill('SIGTERM');
    await ended;
    await jobs.close();
    await database.close();
    await services.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

export async function run({ out, seconds = 8 }: { out?: string; seconds?: number } = {}): Promise<void> {
  const rows = await measure('postgres', seconds);
  if (findRedisServer()) rows.push(...(await measure('redis', seconds)));
  publish(
    report('queue', 'naive method, 512 points, horizon 24; client, worker and servers on one machine', rows),
    out,
  );
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { out: { type: 'string' }, seconds: { type: 'string', default: '8' } } });
  await run({ seconds: Number(values.seconds), ...(values.out ? { out: values.out } : {}) });
}
