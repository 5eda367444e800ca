/** What listening costs on the CPU: one live stream on one thread, many together, and whole recordings. */
import { availableParallelism } from 'node:os';
import { loadSpeechModel, SpeechListener, type SpeechModel, scanRecording } from '../../src/audio/model/index.js';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { Random } from '../../src/engine/random.js';
import { type Row, summarise } from '../measure.js';

const noise = (length: number) => {
  const random = new Random(1);
  return Float32Array.from({ length }, () => random.uniform(-0.2, 0.2));
};

/** Microseconds of a tick: samples in, features, network, tracks out, for each session. */
async function ticks(model: SpeechModel, sessions: number, samples: number, count: number): Promise<number[]> {
  const listener = new SpeechListener(model);
  const open = Array.from({ length: sessions }, () => listener.open());
  const piece = noise(samples);
  const out: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    for (const session of open) session.push(piece);
    await listener.step();
    for (const session of open) session.take();
    if (i >= count / 10) out.push((performance.now() - start) * 1000);
  }
  await listener.close();
  return out;
}

/** @param name folder or name of the model */
export async function costRows(name: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const threads of new Set([1, availableParallelism()])) {
    const backend = await createWasmBackend({ threads });
    const model = await loadSpeechModel(name, backend);
    const on = `${threads} thread${threads > 1 ? 's' : ''}`;
    if (threads === 1) {
      rows.push({
        name: 'one live stream, a hop of 10 ms all in, 1 thread',
        unit: 'µs',
        ...summarise(await ticks(model, 1, 160, 4000)),
        least: 120,
        aim: 60,
      });
    }
    for (const sessions of [60, 150]) {
      const micros = (await ticks(model, sessions, 320, 200)).map((us) => us / 200);
      rows.push({ name: `${sessions} live streams, share of real time, ${on}`, unit: '%', ...summarise(micros) });
    }
    const minutes = 5;
    const recording = noise(minutes * 60 * 16_000);
    const speeds: number[] = [];
    for (let i = 0; i < 3; i++) {
      const start = performance.now();
      await scanRecording(model, recording);
      speeds.push((minutes * 60_000) / (performance.now() - start));
    }
    const target = threads > 1 ? { least: 60, aim: 300 } : {};
    rows.push({
      name: `scan of a recording, ${on}`,
      unit: '× real time',
      higher: true,
      ...summarise(speeds),
      ...target,
    });
    await model.close();
    await backend.dispose();
  }
  return rows;
}
