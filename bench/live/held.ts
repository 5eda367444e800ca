/** What a live series holds in memory: everything that the owner of its partition keeps of it. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { FeatureState } from '../../src/forecast/model/features.js';
import { loadModel } from '../../src/forecast/model/load.js';
import { tensorSize } from '../../src/forecast/model/series-state.js';
import { StreamBatch } from '../../src/forecast/model/stream-batch.js';
import { forecastAll } from '../../src/live/forecasting.js';
import { LiveSeries } from '../../src/live/live-series.js';
import { SeriesCore } from '../../src/live/series-core.js';
import { standingOf } from '../../src/live/standing.js';
import type { Row } from '../measure.js';
import { liveModel } from './setup.js';

const START = 1.7e12;

/** Bytes held after a collection: objects, and arrays outside of the heap. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

export async function heldRows(count = 2048): Promise<Row[]> {
  const backend = await createWasmBackend();
  const model = loadModel(backend, liveModel('/tmp/adder-bench-model').folder);
  const batch = new StreamBatch(model);
  const all: LiveSeries[] = [];
  const grow = async (more: number) => {
    const fresh = Array.from({ length: more }, (_, i) => {
      const series = new LiveSeries(BigInt(all.length + i), 'local', `held/${all.length + i}`, 1);
      const grid = { frequency: '1s', anchor: START, nearest: true };
      const plan = { grid, season: 1, origin: 0, cutAt: null, kept: 0 };
      series.core = new SeriesCore(
        plan,
        new FeatureState(model.config),
        batch.newState({ season: 1, frequency: '1s' }),
      );
      series.horizon = 16;
      return series;
    });
    for (let k = 0; k < 20; k++) {
      for (let at = 0; at < more; at += 256) {
        const some = fresh.slice(at, at + 256);
        for (const { core } of some) core!.add(Float64Array.of(START + k * 1000), Float64Array.of(Math.sin(k)));
        const outputs = await forecastAll(batch, some);
        outputs.forEach((output, i) => {
          some[i]!.output = standingOf(output);
        });
      }
    }
    all.push(...fresh);
  };
  try {
    await grow(512);
    const before = heldBytes();
    await grow(count);
    const kib = (bytes: number) => bytes / 1024;
    return [
      {
        name: 'memory a live series, state included: held',
        value: kib((heldBytes() - before) / count),
        unit: 'KiB',
        least: 64,
        note: `of which ${kib(4 * tensorSize(model)).toFixed(1)} KiB are the network's state in f32; no season`,
      },
    ];
  } finally {
    await batch.close();
    model.free();
    await backend.dispose();
  }
}
