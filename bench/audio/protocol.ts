/**
 * The protocol all detectors are judged by: a grid of 10 ms frames, the label of a frame is that of its middle.
 *
 *   aligned  score of the hop that holds the frame's middle: the view of a whole recording
 *   causal   score of the newest hop that is finished when the frame ends: what a live listener has
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { activity, parseRttm, parseScv } from '../../src/audio/data/annotations.js';
import { decodeFile } from '../../src/audio/decode/index.js';
import {
  auc,
  bestBalancedAccuracy,
  changeWithin,
  confusion,
  delays,
  labelAhead,
  median,
  thresholdAtFalseAlarms,
} from '../../src/audio/metrics/index.js';
import { AdderError } from '../../src/platform/errors.js';
import type { Scorer } from './peers/scorers.js';

export const FRAME = 160;

export interface Recording {
  name: string;
  /** 16 kHz. */
  samples: Float32Array;
  /** One label a 10 ms frame. */
  labels: Uint8Array;
}

/** Recordings of a folder of `.flac` files with `.scv` or `.rttm` labels beside them. */
export async function readRecordings(folder: string): Promise<Recording[]> {
  const out: Recording[] = [];
  for (const file of readdirSync(folder)
    .filter((f) => f.endsWith('.flac'))
    .sort()) {
    const base = join(folder, file.replace(/\.flac$/, ''));
    const samples = (await decodeFile(`${base}.flac`)).channels[0];
    const labels = activity(readLabels(base), Math.floor(samples.length / FRAME));
    out.push({ name: file, samples, labels });
  }
  if (out.length === 0) {
    throw new AdderError({
      code: 'NO_RECORDINGS',
      message: 'no .flac file in this folder',
      where: { file: folder },
      fix: 'name a folder with X.flac and X.scv or X.rttm',
    });
  }
  return out;
}

function readLabels(base: string) {
  try {
    return parseScv(readFileSync(`${base}.scv`, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return parseRttm(readFileSync(`${base}.rttm`, 'utf8'));
  }
}

export interface Track {
  aligned: Float32Array;
  causal: Float32Array;
  /** What a scorer says of later, by track name, on the causal grid; others are judged by their score now. */
  outlook?: Record<string, Float32Array>;
}

/** Scores of hops of `hop` samples, spread over the grid. Before the first finished hop the causal score is the lowest. */
export function onGrid(scores: ArrayLike<number>, hop: number, frames: number): Track {
  const aligned = new Float32Array(frames);
  const causal = new Float32Array(frames);
  let lowest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) lowest = Math.min(lowest, scores[i]);
  for (let i = 0; i < frames; i++) {
    aligned[i] = scores[Math.min(scores.length - 1, Math.floor((i * FRAME + FRAME / 2) / hop))];
    const newest = Math.floor(((i + 1) * FRAME) / hop) - 1;
    causal[i] = newest < 0 ? lowest : scores[Math.min(newest, scores.length - 1)];
  }
  return { aligned, causal };
}

/** Scores of one detector on one recording (state reset before), the last part hop filled with zeros; microseconds a call. */
export async function listen(scorer: Scorer, recording: Recording): Promise<{ track: Track; micros: number[] }> {
  scorer.reset();
  const { hop } = scorer;
  const count = Math.ceil(recording.samples.length / hop);
  const scores = new Float32Array(count);
  const micros: number[] = [];
  const outlook: Record<string, Float32Array> = {};
  for (let i = 0; i < count; i++) {
    let part = recording.samples.subarray(i * hop, (i + 1) * hop);
    if (part.length < hop) {
      const padded = new Float32Array(hop);
      padded.set(part);
      part = padded;
    }
    const start = performance.now();
    scores[i] = await scorer.score(part);
    micros.push((performance.now() - start) * 1000);
    for (const [name, value] of Object.entries(scorer.outlook?.() ?? {})) {
      outlook[name] ??= new Float32Array(count);
      outlook[name][i] = value;
    }
  }
  const frames = recording.labels.length;
  const later = Object.entries(outlook).map(([name, values]) => [name, onGrid(values, hop, frames).causal] as const);
  const track = onGrid(scores, hop, frames);
  return { track: later.length > 0 ? { ...track, outlook: Object.fromEntries(later) } : track, micros };
}

export interface Verdict {
  auc: number;
  aucCausal: number;
  bestBalancedAccuracy: number;
  /** AUC for the label 200, 500 and 1000 ms later: of what the detector says of then, else of its causal score. */
  ahead: Record<'200' | '500' | '1000', number>;
  /** AUC for "ends within", given speech: of what the detector says of it, else of (−causal score). */
  endWithin: Record<'100' | '200' | '500', number>;
  /** AUC for "starts within", given silence, likewise. */
  startWithin: Record<'200' | '500', number>;
  /** Median delay in ms of the causal score, at the threshold that lets through as many non-speech frames as the reference does. */
  onsetDelay: number;
  offsetDelay: number;
  /** Share of onsets that are never found before the segment ends, at that threshold. */
  missedOnsets: number;
}

function pooled(parts: readonly ArrayLike<number>[]): Float64Array {
  const out = new Float64Array(parts.reduce((s, p) => s + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Share of non-speech frames whose causal score is at least `threshold`. */
export function falseAlarmRate(tracks: readonly Track[], labels: readonly Uint8Array[], threshold: number): number {
  const c = confusion(pooled(tracks.map((t) => t.causal)), pooled(labels), threshold);
  return c.falsePositives / (c.falsePositives + c.trueNegatives);
}

/**
 * All measures of one detector over recordings, frames pooled; labels never reach over the end of a recording.
 *
 * @param falseAlarms share of non-speech frames above the threshold at which delays are taken
 */
export function judge(tracks: readonly Track[], labels: readonly Uint8Array[], falseAlarms: number): Verdict {
  const aligned = pooled(tracks.map((t) => t.aligned));
  const causal = pooled(tracks.map((t) => t.causal));
  const falling = causal.map((v) => -v);
  const now = pooled(labels);
  const said = (name: string, otherwise: Float64Array) =>
    tracks.every((t) => t.outlook?.[name]) ? pooled(tracks.map((t) => t.outlook![name])) : otherwise;
  const ahead = (ms: number) => auc(said(`speech_${ms}`, causal), pooled(labels.map((l) => labelAhead(l, ms / 10))));
  const ends = (ms: number) => auc(said(`end_${ms}`, falling), pooled(labels.map((l) => changeWithin(l, 1, ms / 10))));
  const starts = (ms: number) =>
    auc(said(`start_${ms}`, causal), pooled(labels.map((l) => changeWithin(l, 0, ms / 10))));
  const threshold = thresholdAtFalseAlarms(causal, now, falseAlarms);
  const late = tracks.map((t, i) => delays(t.causal, labels[i], threshold));
  const onsets = late.flatMap((d) => d.onset);
  return {
    auc: auc(aligned, now),
    aucCausal: auc(causal, now),
    bestBalancedAccuracy: bestBalancedAccuracy(aligned, now).value,
    ahead: { '200': ahead(200), '500': ahead(500), '1000': ahead(1000) },
    endWithin: { '100': ends(100), '200': ends(200), '500': ends(500) },
    startWithin: { '200': starts(200), '500': starts(500) },
    onsetDelay: median(onsets) * 10,
    offsetDelay: median(late.flatMap((d) => d.offset)) * 10,
    missedOnsets: onsets.filter((d) => d === Number.POSITIVE_INFINITY).length / onsets.length,
  };
}
