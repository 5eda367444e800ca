/**
 * What the way through store, queue, worker and inference process costs: forecasts by the naive method, which computes
 * nothing, from a real worker process.
 */
import type { ForecastRequest } from '../../src/forecast/forecaster.js';
import { QueueEngine } from '../../src/jobs/forecast/queue-engine.js';
import { JobSystem } from '../../src/jobs/system.js';
import { jobTable } from '../../src/jobs/table.js';
import { loadConfig } from '../../src/platform/config.js';
import { Database } from '../../src/store/database.js';
import { quantile, type Row } from '../measure.js';
import { startService } from './processes.js';

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

export async function queueRows(kind: 'redis' | 'postgres', { seconds = 4 } = {}): Promise<Row[]> {
  const { services, stop } = await startService({ queue: kind, model: 'naive', api: false });
  const database = await Database.open({ url: services.databaseUrl });
  const jobs = await JobSystem.open({ table: jobTable, database, connection: services.queue, maxUnfinished: 10_000 });
  try {
    const engine = new QueueEngine(jobs.client, { config: loadConfig({ ADDER_MODEL: 'naive' }) });
    await load(engine, 16, 3);
    const one = await load(engine, 1, seconds);
    const many = await load(engine, 64, seconds);
    const row = (name: string, value: number, unit: string, extra: Partial<Row> = {}): Row => ({
      name: `queue alone, ${kind}: ${name}`,
      value,
      unit,
      ...extra,
    });
    return [
      row('one caller, median', quantile(one.latencies, 0.5), 'ms'),
      row('one caller, 99th percentile', quantile(one.latencies, 0.99), 'ms'),
      row('64 callers, median', quantile(many.latencies, 0.5), 'ms'),
      row('64 callers, 99th percentile', quantile(many.latencies, 0.99), 'ms'),
      row('64 callers, forecasts', many.rate, '/s', { higher: true }),
    ];
  } finally {
    await jobs.close();
    await database.close();
    await stop();
  }
}
