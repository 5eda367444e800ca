/** One series: from a point to its forecast on an idle system, early and late in its life. */
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { loadModel } from '../../src/forecast/model/load.js';
import { StreamBatch } from '../../src/forecast/model/stream-batch.js';
import { quantile, type Row, summarise } from '../measure.js';
import { batchOf, liveModel, sleep, startSetup, WRITER } from './setup.js';

/** Milliseconds from the write of a point to its forecast, through store, log, live worker and feed. */
export async function idleRows(kind: 'redis' | 'postgres', points = 400): Promise<Row[]> {
  const setup = await startSetup(kind);
  try {
    await setup.startLive();
    const { client } = setup;
    let heard: (() => void) | undefined;
    const start = Date.now() - 86_400_000;
    let wanted = 0;
    const subscription = await client.feed.subscribe(WRITER.owner, { ids: ['idle'] }, {}, ({ at }) => {
      if (at === wanted) heard?.();
    });
    const times: number[] = [];
    const committed: number[] = [];
    for (let i = 0; i < points; i++) {
      wanted = start + i * 1000;
      const done = new Promise<void>((resolve) => {
        heard = resolve;
      });
      const rows = batchOf([['idle', wanted, Math.sin(i / 5)]]);
      const since = performance.now();
      await client.ingest.write(WRITER, rows, { describe: () => ({ freq: '1s' }) });
      const written = performance.now() - since;
      // The first point alone shows no grid.
      if (i > 0) await done;
      if (i >= 50) {
        committed.push(written);
        times.push(performance.now() - since);
      }
      await sleep(10);
    }
    await subscription.close();
    const sorted = times.sort((a, b) => a - b);
    const name = `one point → forecast, idle, news by ${kind}`;
    return [
      { name: `${name}, median`, ...summarise(times), unit: 'ms', least: 5 },
      { name: `${name}, 99th percentile`, value: quantile(sorted, 0.99), unit: 'ms' },
      { name: 'of which until the point is committed', ...summarise(committed), unit: 'ms' },
    ];
  } finally {
    await setup.stop();
  }
}

/** Cost of a step and of a forecast after few and after many points. */
export async function costRows(): Promise<Row[]> {
  const backend = await createWasmBackend();
  const model = loadModel(backend, liveModel('/tmp/adder-bench-model').folder);
  const batch = new StreamBatch(model);
  const rows: Row[] = [];
  try {
    const states = await batch.statesOf(
      [10, 1_000_000].map((length) => ({
        values: Float64Array.from({ length }, (_, i) => Math.sin(i / 7)),
        season: 60,
      })),
    );
    const samples: number[][] = [[], []];
    for (let round = 0; round < 400; round++) {
      for (const [s, state] of states.entries()) {
        const since = performance.now();
        await batch.advance([{ state, values: [Math.sin(round)] }]);
        await batch.forecast([state], 16, model.config.levels);
        if (round >= 50) samples[s]!.push((performance.now() - since) * 1000);
      }
    }
    rows.push({ name: 'step and forecast of one series after 10 points', ...summarise(samples[0]!), unit: 'µs' });
    rows.push({ name: 'the same after 1,000,000 points', ...summarise(samples[1]!), unit: 'µs' });
    const ratios = samples[0]!.map((v, i) => samples[1]![i]! / v);
    rows.push({ name: 'late against early', ...summarise(ratios), unit: '×', note: 'equal within noise is wanted' });
  } finally {
    await batch.close();
    model.free();
    await backend.dispose();
  }
  return rows;
}
