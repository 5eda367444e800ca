/**
 * What a client of the service waits for: one series at a time, 64 clients at once, a thousand series in one Nixtla request.
 * The bare engine is measured beside it, in this process and in the same run.
 */
import { Agent, request as httpRequest } from 'node:http';
import type { ForecastRequest } from '../../src/forecast/forecaster.js';
import { resolveForecaster } from '../../src/forecast/models.js';
import { intervalLevels } from '../../src/forecast/quantiles.js';
import { parseStack } from '../../src/forecast/stack/stack.js';
import { loadConfig } from '../../src/platform/config.js';
import { quantile, type Row, summarise } from '../measure.js';
import { startService } from './processes.js';

const LENGTH = 512;
const HORIZON = 24;
const SEASON = 24;
const LEVELS = [80, 95];
const MODEL = 'adder';

/** Requests that the bare engine gets at once. */
const BATCH = 64;

/** An hourly series with a daily rhythm, another one for each seed. */
const series = (seed: number, length = LENGTH) =>
  Array.from({ length }, (_, i) => {
    const value = 100 + seed + 20 * Math.sin((2 * Math.PI * i) / SEASON) + 5 * Math.sin(i * (0.7 + seed / 97));
    return Math.round(value * 1000) / 1000;
  });

const body = (seed: number) => ({
  series: [{ values: series(seed), season: SEASON, frequency: 'H' }],
  horizon: HORIZON,
  levels: LEVELS,
});

const bare = (seed: number): ForecastRequest => ({
  history: Float64Array.from(series(seed)),
  horizon: HORIZON,
  season: SEASON,
  frequency: 'H',
  quantiles: [...LEVELS.flatMap(intervalLevels), 0.5].sort((a, b) => a - b),
});

/** A client with connections that stay open; resolves to the body of a 200. */
function client(address: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const { hostname, port } = new URL(address);
  const post = (path: string, payload: Buffer) =>
    new Promise<Buffer>((done, fail) => {
      const headers = { 'content-type': 'application/json', 'content-length': payload.length };
      const sent = httpRequest({ agent, hostname, port, path, method: 'POST', headers }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => {
          const bytes = Buffer.concat(chunks);
          if (answer.statusCode === 200) done(bytes);
          else fail(new Error(`${answer.statusCode}: ${bytes.toString('utf8').slice(0, 300)}`));
        });
        answer.on('error', fail);
      });
      sent.on('error', fail);
      sent.end(payload);
    });
  return { post, close: () => agent.destroy() };
}

/** Latencies in ascending order, and requests a second, of `clients` in a closed loop. */
async function load(address: string, clients: number, seconds: number) {
  const { post, close } = client(address, clients);
  const payloads = Array.from({ length: 32 }, (_, i) => Buffer.from(JSON.stringify(body(i))));
  const latencies: number[] = [];
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let turn = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end) {
        const since = performance.now();
        await post('/v1/forecasts', payloads[turn++ % payloads.length]!);
        latencies.push(performance.now() - since);
      }
    }),
  );
  const rate = latencies.length / ((performance.now() - begin) / 1000);
  close();
  return { latencies: latencies.sort((a, b) => a - b), rate };
}

/** Series a second of the engine alone with the service's own stack, batch after batch. */
async function engineRate(backend: string | undefined, seconds: number): Promise<{ rate: number; backend: string }> {
  const forecaster = await resolveForecaster(MODEL, { backend, stack: parseStack(loadConfig({}).stack) });
  try {
    const requests = Array.from({ length: BATCH }, (_, i) => bare(i));
    await forecaster.forecast(requests);
    const begin = performance.now();
    let count = 0;
    while (performance.now() < begin + seconds * 1000) {
      await forecaster.forecast(requests);
      count += BATCH;
    }
    return { rate: count / ((performance.now() - begin) / 1000), backend: backend ?? 'auto' };
  } finally {
    await forecaster.close?.();
  }
}

/** Longest time that the event loop of the API was held since the last look, milliseconds (perf_hooks.monitorEventLoopDelay). */
async function longestHold(address: string): Promise<number> {
  const text = await (await fetch(`${address}/metrics`)).text();
  const seconds = /^adder_nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(text)?.[1];
  if (seconds === undefined) throw new Error('the API does not report the delay of its event loop');
  return Number(seconds) * 1000;
}

/** Latency of one client and throughput of 64, through REST, queue, worker and inference, and the engine alone. */
export async function clientRows(
  queue: 'redis' | 'postgres',
  backend: string | undefined,
  { seconds = 5, rounds = 2 } = {},
): Promise<Row[]> {
  const one: number[] = [];
  const many: number[] = [];
  const rates: number[] = [];
  const engine: number[] = [];
  // In alternation, so that both see the same machine.
  for (let round = 0; round < rounds; round++) {
    engine.push((await engineRate(backend, seconds)).rate);
    const { address, stop } = await startService({ queue, model: MODEL, backend, api: true });
    try {
      await load(address!, 64, 2);
      one.push(...(await load(address!, 1, seconds)).latencies);
      const { latencies, rate } = await load(address!, 64, seconds);
      many.push(...latencies);
      rates.push(rate);
    } finally {
      await stop();
    }
  }
  one.sort((a, b) => a - b);
  many.sort((a, b) => a - b);
  const shares = rates.map((rate, i) => (100 * rate) / engine[i]!);
  // The targets are those of Redis.
  const bound = (least: number) => (queue === 'redis' ? { least } : {});
  const what = `${queue}: one series of ${LENGTH} points, h ${HORIZON}`;
  return [
    { name: `${what}; 1 client, median`, value: quantile(one, 0.5), unit: 'ms', ...bound(60) },
    { name: `${what}; 1 client, 99th percentile`, value: quantile(one, 0.99), unit: 'ms', ...bound(120) },
    { name: `${what}; 64 clients, median`, value: quantile(many, 0.5), unit: 'ms' },
    { name: `${what}; 64 clients, 99th percentile`, value: quantile(many, 0.99), unit: 'ms' },
    { name: `${what}; 64 clients`, ...summarise(rates), unit: 'series/s', higher: true },
    { name: `the engine alone, batches of ${BATCH}`, ...summarise(engine), unit: 'series/s', higher: true },
    {
      name: `${queue}: 64 clients against the engine alone`,
      ...summarise(shares),
      unit: '%',
      higher: true,
      ...bound(70),
      note: 'client, API, worker and servers share the cores with the engine',
    },
  ];
}

const SERIES = 1000;
const POINTS = 200;

/** One `/v2/forecast` of a thousand series, and how long it holds the event loop of the API. */
export async function nixtlaRows(backend: string | undefined, { repeats = 3 } = {}): Promise<Row[]> {
  const payload = Buffer.from(
    JSON.stringify({
      model: 'timegpt-1',
      freq: 'H',
      h: HORIZON,
      level: LEVELS,
      series: {
        y: Array.from({ length: SERIES }, (_, s) => series(s, POINTS)).flat(),
        sizes: Array(SERIES).fill(POINTS),
      },
    }),
  );
  const { address, stop } = await startService({ queue: 'redis', model: MODEL, backend, api: true });
  const { post, close } = client(address!, 1);
  const seconds: number[] = [];
  const holds: number[] = [];
  try {
    for (let i = 0; i <= repeats; i++) {
      await longestHold(address!);
      const begin = performance.now();
      const answer = JSON.parse((await post('/v2/forecast', payload)).toString('utf8')) as { mean: number[] };
      const took = (performance.now() - begin) / 1000;
      if (answer.mean.length !== SERIES * HORIZON) throw new Error(`${answer.mean.length} values came back`);
      const held = await longestHold(address!);
      // The first one is slower (compilation), and counts for the event loop all the same.
      holds.push(held);
      if (i > 0) seconds.push(took);
    }
  } finally {
    close();
    await stop();
  }
  const what = `/v2/forecast, ${SERIES} series of ${POINTS} points, h ${HORIZON}, ${(payload.length / 2 ** 20).toFixed(1)} MiB`;
  return [
    { name: `${what}: answered after`, ...summarise(seconds), unit: 's', least: 10 },
    {
      name: 'event loop of the API held meanwhile, at most',
      value: Math.max(...holds),
      unit: 'ms',
      least: 100,
      note: `worst of ${holds.length}, the first included`,
    },
  ];
}
