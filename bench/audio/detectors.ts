/**
 * Speech now and what comes next: detectors of others, on hand-labelled recordings.
 *
 *   node dist/bench/audio/detectors.js --data DIR [--out FILE]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseCommandLine } from '../../src/commands/command.js';
import { AdderError } from '../../src/platform/errors.js';
import { summarise } from '../measure.js';
import { energy, rnnoise, type Scorer, silero, webrtc } from './peers/scorers.js';
import { falseAlarmRate, judge, listen, type Recording, readRecordings, type Track, type Verdict } from './protocol.js';

export interface Result extends Verdict {
  name: string;
  /** Milliseconds of a hop. */
  hopMs: number;
  /** Median microseconds a hop. */
  micros: number;
  /** Share of non-speech frames above the threshold at which delays were taken. */
  falseAlarms: number;
}

/** Every detector on every recording. `more` are judged in the same run, beside the peers. */
export async function judgeAll(recordings: readonly Recording[], more: readonly Scorer[] = []): Promise<Result[]> {
  const scorers = [await silero('v6'), await silero('v5'), await rnnoise(), await webrtc(), energy(), ...more];
  const labels = recordings.map((r) => r.labels);
  const out: Result[] = [];
  // Delays mean nothing without a common point: as many false alarms as Silero v6, the first, makes at 0.5.
  let falseAlarms = Number.NaN;
  for (const scorer of scorers) {
    const tracks: Track[] = [];
    const micros: number[] = [];
    for (const recording of recordings) {
      const heard = await listen(scorer, recording);
      tracks.push(heard.track);
      for (const m of heard.micros) micros.push(m);
    }
    if (out.length === 0) falseAlarms = falseAlarmRate(tracks, labels, 0.5);
    const verdict = judge(tracks, labels, falseAlarms);
    out.push({ name: scorer.name, hopMs: scorer.hop / 16, micros: summarise(micros).value, falseAlarms, ...verdict });
  }
  const perfect = labels.map((l) => ({ aligned: Float32Array.from(l), causal: Float32Array.from(l) }));
  out.push({
    name: 'perfect detector',
    hopMs: 10,
    micros: Number.NaN,
    falseAlarms,
    ...judge(perfect, labels, falseAlarms),
  });
  return out;
}

export function detectorTable(results: readonly Result[]): string {
  const p = (v: number) => (Number.isFinite(v) ? v.toFixed(3) : '–');
  const ms = (v: number) => (Number.isFinite(v) ? v.toFixed(0) : '–');
  const head = [
    '',
    'AUC',
    'causal',
    'bal. acc.',
    '+200',
    '+500',
    '+1000',
    'ends 100',
    'ends 200',
    'ends 500',
    'starts 200',
    'onset / offset ms',
    'missed',
    'µs (hop ms)',
  ];
  const rows = results.map((r) => [
    r.name,
    p(r.auc),
    p(r.aucCausal),
    p(r.bestBalancedAccuracy),
    p(r.ahead['200']),
    p(r.ahead['500']),
    p(r.ahead['1000']),
    p(r.endWithin['100']),
    p(r.endWithin['200']),
    p(r.endWithin['500']),
    p(r.startWithin['200']),
    `${ms(r.onsetDelay)} / ${ms(r.offsetDelay)}`,
    p(r.missedOnsets),
    `${p(r.micros)} (${r.hopMs})`,
  ]);
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseCommandLine('bench audio', args, { data: { type: 'string' }, out: { type: 'string' } }, 0);
  const data =
    values.data ?? (process.env.ADDER_SPEECH_DATA && join(process.env.ADDER_SPEECH_DATA, 'dev', 'ami_excerpts'));
  if (!data) {
    throw new AdderError({
      code: 'NO_DATA',
      message: 'no recordings named',
      fix: 'give --data DIR with X.flac and X.scv or X.rttm, or set ADDER_SPEECH_DATA',
    });
  }
  const recordings = await readRecordings(data);
  const minutes = recordings.reduce((s, r) => s + r.samples.length / 16000 / 60, 0);
  const results = await judgeAll(recordings);
  console.log(`${recordings.length} recordings, ${minutes.toFixed(1)} minutes\n\n${detectorTable(results)}`);
  if (values.out) {
    writeFileSync(values.out, `${JSON.stringify({ recordings: recordings.length, minutes, results }, null, 2)}\n`);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof AdderError ? error.toLine() : error);
    process.exitCode = 1;
  });
}
