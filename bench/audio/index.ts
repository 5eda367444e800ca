/**
 * The speech side's benchmarks. Parts that need recordings read ADDER_SPEECH_DATA and say so when it is missing; models are
 * the shipped ones, or those of ADDER_SPEECH_MODEL and ADDER_TURN_MODEL (folders or names).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadLibrary } from '../../src/audio/data/pack.js';
import { callActivity, readCalls, turnStatistics } from '../../src/audio/data/turns.js';
import { loadResampler } from '../../src/audio/decode/index.js';
import { DEFAULT_SPEECH_MODEL, loadSpeechModel, type SpeechModel } from '../../src/audio/model/index.js';
import { halves } from '../../src/audio/training/refit.js';
import { DEFAULT_TURN_MODEL, loadTurnModel } from '../../src/audio/turns/index.js';
import type { Backend } from '../../src/engine/backend.js';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import type { SuiteOptions } from '../main.js';
import { publish, report } from '../measure.js';
import { calibrationErrors, type Heard, heldOutStreams } from './calibration.js';
import { composeRows } from './compose.js';
import { costRows } from './cost.js';
import { decisionTable, measureDecisions } from './decisions.js';
import { detectorTable, judgeAll } from './detectors.js';
import { featureRows } from './features.js';
import { hourRows } from './hour.js';
import { liveRows } from './live.js';
import { underNoise } from './noisy.js';
import { ownScorer } from './own.js';
import { type Recording, readRecordings } from './protocol.js';
import { spectraRows, spectraTable } from './spectra.js';
import { measureTurnModel, measureTurns } from './turns.js';

/** Result file of one part: FILE-part.json beside what was asked for. */
function fileOf(out: string | undefined, part: string): string | undefined {
  return out && `${out.replace(/\.(json|md)$/, '')}-${part}.json`;
}

function save(out: string | undefined, value: unknown): void {
  if (!out) return;
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${JSON.stringify(value, null, 2)}\n`);
}

const PARTS: Record<string, { data: boolean; run(root: string, out: string | undefined): Promise<void> }> = {
  features: {
    data: false,
    run: async (_, out) => publish(report('audio: cost of a hop', 'one CPU thread', await featureRows()), out),
  },
  compose: {
    data: true,
    run: async (root, out) => publish(report('audio: composing streams', 'CPU', await composeRows(root)), out),
  },
  cost: {
    data: false,
    run: async (_, out) => {
      const rows = await costRows(process.env.ADDER_SPEECH_MODEL ?? DEFAULT_SPEECH_MODEL);
      publish(report('audio: cost of listening', 'CPU', rows), out);
    },
  },
  live: {
    data: true,
    run: async (root, out) =>
      publish(report('audio: live sessions through the service', 'CPU', await liveRows(root)), out),
  },
  hour: {
    data: true,
    run: async (root, out) => publish(report('audio: an hour of recordings', 'CPU', await hourRows(root)), out),
  },
  detectors: { data: true, run: (root, out) => detectors(excerpts(root), out) },
  noise: {
    data: true,
    run: async (root, out) => {
      const { noise } = await loadLibrary({ root, split: 'dev', packs: ['fsdd', 'train_room'] });
      await detectors(Promise.resolve(underNoise(await excerpts(root), noise, 5)), out);
    },
  },
  composed: {
    data: true,
    run: async (root, out) => {
      const heard = (await composed(root, 30)).map((h, i) => ({ name: `stream ${i}`, ...h }));
      await detectors(Promise.resolve(heard), out);
    },
  },
  decisions: {
    data: true,
    run: async (root, out) => {
      const heard = await composed(root, 60);
      const rows = await withSpeechModel((model) => measureDecisions(model, heard));
      console.log(decisionTable(rows));
      save(out, rows);
    },
  },
  calibration: {
    data: true,
    run: async (root, out) => {
      const streams = await composed(root, 60);
      const errors = await withSpeechModel(async (model) => ({
        composed: await calibrationErrors(model, streams),
        meetings: await calibrationErrors(model, await excerpts(root)),
      }));
      console.log(JSON.stringify(errors, rounded, 2));
      save(out, errors);
    },
  },
  spectra: {
    data: true,
    run: async (root, out) => {
      const rows = await withSpeechModel((model) => spectraRows(root, model));
      console.log(spectraTable(rows));
      save(out, rows);
    },
  },
  turns: {
    data: true,
    run: async (root, out) => {
      const [train, validation] = ['train', 'val'].map((split) =>
        readCalls(join(root, 'swb_turns', `${split}.jsonl.gz`)),
      );
      const model = await onCpu(async (backend) => {
        const turnModel = await loadTurnModel(process.env.ADDER_TURN_MODEL ?? DEFAULT_TURN_MODEL, backend);
        return measureTurnModel(turnModel, validation);
      });
      console.log(JSON.stringify({ model }, rounded, 2));
      const result = { model, ...measureTurns(train.map(callActivity), validation.map(callActivity)) };
      console.log(JSON.stringify(result, rounded, 2));
      save(out, result);
    },
  },
};

const rounded = (_: string, v: unknown) => (typeof v === 'number' ? Math.round(v * 1e4) / 1e4 : v);

/** Streams of speakers whom neither training nor the head's refitting heard, and of noises held out; labels are tight. */
async function composed(root: string, count: number): Promise<Heard[]> {
  await loadResampler();
  const turns = turnStatistics(readCalls(join(root, 'swb_turns', 'train.jsonl.gz')));
  const [, strangers] = halves(await loadLibrary({ root, split: 'dev' }));
  return heldOutStreams(strangers, turns, count);
}

function excerpts(root: string): Promise<Recording[]> {
  return readRecordings(join(root, 'dev', 'ami_excerpts'));
}

/** One thread, as detectors of others get. */
async function onCpu<T>(body: (backend: Backend) => Promise<T>): Promise<T> {
  const backend = await createWasmBackend({ threads: 1 });
  try {
    return await body(backend);
  } finally {
    await backend.dispose();
  }
}

function withSpeechModel<T>(body: (model: SpeechModel) => Promise<T>): Promise<T> {
  return onCpu(async (backend) =>
    body(await loadSpeechModel(process.env.ADDER_SPEECH_MODEL ?? DEFAULT_SPEECH_MODEL, backend)),
  );
}

/** Our model beside the detectors of others, in one run. */
async function detectors(recordings: Promise<Recording[]>, out: string | undefined): Promise<void> {
  const results = await withSpeechModel(async (model) => {
    const own = ownScorer(model);
    const all = await judgeAll(await recordings, [own]);
    await own.close();
    return all;
  });
  console.log(detectorTable(results));
  save(out, results);
}

export async function run(options: SuiteOptions): Promise<void> {
  const root = process.env.ADDER_SPEECH_DATA;
  for (const [name, part] of Object.entries(PARTS)) {
    if (options.only && !options.only.includes(name)) continue;
    if (part.data && !root) {
      console.error(`bench audio: ${name} is left out, ADDER_SPEECH_DATA is not set`);
      continue;
    }
    console.error(`bench audio: ${name} …`);
    await part.run(root ?? '', fileOf(options.out, name));
  }
}
