/** The speech side's benchmarks. Parts that need recordings read ADDER_SPEECH_DATA and say so when it is missing. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { callActivity, readCalls } from '../../src/audio/data/turns.js';
import type { SuiteOptions } from '../main.js';
import { publish, report } from '../measure.js';
import { composeRows } from './compose.js';
import { detectorTable, judgeAll } from './detectors.js';
import { featureRows } from './features.js';
import { readRecordings } from './protocol.js';
import { measureTurns } from './turns.js';

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
  detectors: {
    data: true,
    run: async (root, out) => {
      const results = await judgeAll(await readRecordings(join(root, 'dev', 'ami_excerpts')));
      console.log(detectorTable(results));
      save(out, results);
    },
  },
  turns: {
    data: true,
    run: async (root, out) => {
      const read = (split: string) => readCalls(join(root, 'swb_turns', `${split}.jsonl.gz`)).map(callActivity);
      const result = measureTurns(read('train'), read('val'));
      console.log(JSON.stringify(result, null, 2));
      save(out, result);
    },
  },
};

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
