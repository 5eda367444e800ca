/**
 * How fast training streams are made: one thread, and a pool. Needs ADDER_SPEECH_DATA.
 *
 *   node dist/bench/audio/compose.js [--out FILE]
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Composer } from '../../src/audio/data/compose.js';
import { ComposerPool } from '../../src/audio/data/compose-pool.js';
import { toExample } from '../../src/audio/data/example.js';
import { loadLibrary } from '../../src/audio/data/pack.js';
import { readCalls, turnStatistics } from '../../src/audio/data/turns.js';
import { loadResampler } from '../../src/audio/decode/index.js';
import { parseCommandLine } from '../../src/commands/command.js';
import { AdderError } from '../../src/platform/errors.js';
import { publish, type Row, report, summarise } from '../measure.js';

export async function composeRows(root: string): Promise<Row[]> {
  await loadResampler();
  const packs = ['wakeword', 'fsdd', 'asterisk_en', 'asterisk_it_menardi'];
  const loaded = performance.now();
  const library = await loadLibrary({ root, split: 'train', packs: [...packs, 'train_room', 'train_music_moh'] });
  const seconds = library.speech.concat(library.noise).reduce((s, p) => s + p.samples.length / 16000, 0);
  const decode = seconds / ((performance.now() - loaded) / 1000);
  const turns = turnStatistics(readCalls(join(root, 'swb_turns', 'train.jsonl.gz')));
  const options = { seed: 1 };
  const composer = new Composer(library, turns, options);
  const rates: number[] = [];
  for (let i = 0; i < 24; i++) {
    const start = performance.now();
    const stream = composer.compose(i);
    toExample(stream, i);
    if (i > 3) rates.push(stream.samples.length / 16 / (performance.now() - start));
  }
  const pool = new ComposerPool(library, turns, options, { threads: 2 });
  for (let i = 0; i < 8; i++) await pool.next();
  const start = performance.now();
  let frames = 0;
  for (let i = 0; i < 40; i++) frames += (await pool.next()).frames;
  const pooled = (frames * 10) / (performance.now() - start);
  await pool.close();
  return [
    { name: 'decoding packs', value: decode, unit: '× real time', higher: true },
    { name: 'one stream with features and labels, one thread', ...summarise(rates), unit: '× real time', higher: true },
    { name: 'the same from a pool of two threads', value: pooled, unit: '× real time', higher: true },
  ];
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseCommandLine('bench audio', args, { out: { type: 'string' } }, 0);
  const root = process.env.ADDER_SPEECH_DATA;
  if (!root) throw new AdderError({ code: 'NO_DATA', message: 'ADDER_SPEECH_DATA is not set' });
  publish(report('audio: composing streams', 'CPU', await composeRows(root)), values.out);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof AdderError ? error.toLine() : error);
    process.exitCode = 1;
  });
}
