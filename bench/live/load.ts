/** Many series with one point a second each, and how long each point takes to its forecast. */
import type { LiveOutput } from '../../src/live/feed.js';
import { quantile, type Row } from '../measure.js';
import { batchOf, cpuSeconds, type LiveSetup, residentBytes, sleep, startSetup, WRITER } from './setup.js';

/** Batches in which the points of one second come. */
const BATCHES = 20;
/** Points of a series whose clock is remembered. */
const RING = 64;

interface Measured {
  latencies: Float64Array;
  outputs: number;
  sent: number;
  /** Resident memory of the live worker, one figure each two seconds. */
  memory: number[];
  /** Processor seconds a second of the live worker. */
  cpu: number;
}

const sample = (series: number, second: number) =>
  20 + 5 * Math.sin((second + series) / 9) + ((series * 7919 + second * 104_729) % 97) / 60;

/** Feeds `count` series for `seconds`, after `warmUp` seconds that do not count. */
export async function steadyLoad(
  { client }: LiveSetup,
  pid: number,
  { count, seconds, warmUp }: { count: number; seconds: number; warmUp: number },
): Promise<Measured> {
  const names = Array.from({ length: count }, (_, i) => `steady/${i}`);
  const index = new Map(names.map((name, i) => [name, i]));
  const clocks = new Float64Array(count * RING).fill(Number.NaN);
  const start = Math.floor(Date.now() / 1000) * 1000 - 600_000;
  const latencies: number[] = [];
  let counting = false;
  let outputs = 0;
  const listen = ({ series, at }: LiveOutput) => {
    const s = index.get(series)!;
    const second = Math.floor((at - start) / 1000);
    const slot = s * RING + (second % RING);
    const since = clocks[slot]!;
    if (Number.isNaN(since)) return;
    clocks[slot] = Number.NaN;
    if (!counting) return;
    outputs++;
    latencies.push(performance.now() - since);
  };
  const describe = () => ({ freq: '1s', season: 1 });
  const subscription = await client.feed.subscribe(WRITER.owner, { prefix: 'steady/' }, {}, listen);
  const memory: number[] = [];
  let sent = 0;
  const waiting = new Set<Promise<unknown>>();
  const size = Math.ceil(count / BATCHES);
  const begin = performance.now();
  let cpu = 0;
  for (let second = 0; second < warmUp + seconds; second++) {
    if (second === warmUp) {
      counting = true;
      cpu = cpuSeconds(pid);
    }
    if (counting && second % 2 === 0) memory.push(residentBytes(pid));
    for (let b = 0; b < BATCHES; b++) {
      const due = begin + second * 1000 + b * (1000 / BATCHES);
      const wait = due - performance.now();
      if (wait > 0) await sleep(wait);
      const from = b * size;
      const to = Math.min(count, from + size);
      const time = start + second * 1000 + b;
      const now = performance.now();
      for (let s = from; s < to; s++) clocks[s * RING + (second % RING)] = now;
      const rows = batchOf(
        (function* () {
          for (let s = from; s < to; s++) yield [names[s]!, time, sample(s, second)] as const;
        })(),
      );
      if (counting) sent += to - from;
      const writing = client.ingest.write(WRITER, rows, { describe }).finally(() => waiting.delete(writing));
      waiting.add(writing);
    }
  }
  await Promise.all(waiting);
  cpu = (cpuSeconds(pid) - cpu) / seconds;
  await sleep(3000);
  await subscription.close();
  return { latencies: Float64Array.from(latencies).sort(), outputs, sent, memory, cpu };
}

/** 10,000 series at one point a second. */
export async function steadyRows(seconds: number): Promise<Row[]> {
  const setup = await startSetup('redis');
  try {
    const live = await setup.startLive();
    const count = 10_000;
    const { latencies, outputs, sent, memory, cpu } = await steadyLoad(setup, live.pid!, {
      count,
      seconds,
      warmUp: 20,
    });
    const sorted = [...latencies];
    const third = Math.max(1, Math.floor(memory.length / 3));
    const mean = (part: number[]) => part.reduce((sum, v) => sum + v, 0) / part.length;
    const growth = (mean(memory.slice(-third)) - mean(memory.slice(0, third))) / 2 ** 20;
    const what = `${count} series at 1 point/s for ${seconds} s`;
    return [
      { name: `${what}: points with a forecast of their own`, value: (100 * outputs) / sent, unit: '%', higher: true },
      { name: `${what}: point → forecast, median`, value: quantile(sorted, 0.5), unit: 'ms' },
      { name: `${what}: point → forecast, 99th percentile`, value: quantile(sorted, 0.99), unit: 'ms', least: 500 },
      { name: `${what}: processors used by the live worker`, value: cpu, unit: 'cores' },
      { name: `${what}: growth of its memory from the first to the last third`, value: growth, unit: 'MiB' },
    ];
  } finally {
    await setup.stop();
  }
}

/** What one more live series costs the live worker, once all sizes of batches have been met. */
export async function memoryRows(): Promise<Row[]> {
  const setup = await startSetup('redis');
  try {
    const live = await setup.startLive();
    const { client } = setup;
    const start = Date.now() - 86_400_000;
    const seen = new Map<string, number>();
    await client.feed.subscribe(WRITER.owner, { prefix: 'memory/' }, {}, ({ series, at }) => seen.set(series, at));
    const second = async (from: number, to: number, k: number) => {
      const points = Array.from(
        { length: to - from },
        (_, i) => [`memory/${from + i}`, start + k * 1000, sample(from + i, k)] as const,
      );
      await client.ingest.write(WRITER, batchOf(points), { describe: () => ({ freq: '1s', season: 1 }) });
    };
    const fill = async (from: number, to: number) => {
      for (let k = 0; k < 40; k++) await second(from, to, k);
      const last = start + 39 * 1000;
      while (![...Array(to - from).keys()].every((i) => seen.get(`memory/${from + i}`) === last)) await sleep(100);
    };
    const settled = async (to: number) => {
      for (let k = 40; k < 48; k++) {
        await second(0, to, k);
        await sleep(1000);
      }
      return residentBytes(live.pid!);
    };
    const few = 2048;
    const many = 8192;
    await fill(0, few);
    const before = await settled(few);
    await fill(few, many);
    const after = await settled(many);
    return [
      {
        name: 'memory a live series: resident',
        value: (after - before) / (many - few) / 1024,
        unit: 'KiB',
        note: `resident memory of the live worker with ${many} series less that with ${few}: with garbage not yet collected`,
      },
    ];
  } finally {
    await setup.stop();
  }
}
