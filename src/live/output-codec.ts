/**
 * Outputs as bytes, for the store and for other processes, numbers in the order of this machine (little endian everywhere
 * that Node runs on):
 *
 *   version u8 · levels u8 · scores u8 · length of frequency u8 · horizon u16 · length of model u16 · position f64 · value f64
 *   · times f64 [horizon] · levels f64 · scores f64 [scores × 6] · quantiles minus value f32 [levels × horizon] · frequency · model
 *
 * Quantiles lose what f32 cannot hold of their distance from the value, which is where the model's own numbers end.
 */
import type { LiveOutput, PointScore } from './feed.js';

const VERSION = 1;
const SCORE = ['time', 'value', 'expected', 'low', 'high', 'score'] as const satisfies (keyof PointScore)[];

const centreOf = (value: number) => (Number.isFinite(value) ? value : 0);

/** Quantiles as they are after `encodeOutput` and `decodeOutput`; changes `row`. */
export function asStored(row: Float64Array, value: number): Float64Array {
  const centre = centreOf(value);
  for (let i = 0; i < row.length; i++) row[i] = centre + Math.fround(row[i]! - centre);
  return row;
}

/** Everything but owner, name, number and sequence, which are columns of the store. */
export function encodeOutput(output: LiveOutput): Buffer {
  const { times, levels, quantiles, scores } = output;
  const horizon = times.length;
  const doubles = 2 + horizon + levels.length + scores.length * SCORE.length;
  const floats = levels.length * horizon;
  const text = Buffer.from(output.frequency + output.model);
  const frequencyLength = Buffer.byteLength(output.frequency);
  const out = Buffer.from(new ArrayBuffer(8 + 8 * doubles + 4 * floats + text.length));
  out.writeUInt8(VERSION, 0);
  out.writeUInt8(levels.length, 1);
  out.writeUInt8(scores.length, 2);
  out.writeUInt8(frequencyLength, 3);
  out.writeUInt16LE(horizon, 4);
  out.writeUInt16LE(text.length - frequencyLength, 6);
  const d = new Float64Array(out.buffer, 8, doubles);
  d[0] = output.position;
  d[1] = output.value;
  d.set(times, 2);
  d.set(levels, 2 + horizon);
  let at = 2 + horizon + levels.length;
  for (const score of scores) for (const field of SCORE) d[at++] = score[field];
  const f = new Float32Array(out.buffer, 8 + 8 * doubles, floats);
  const centre = centreOf(output.value);
  at = 0;
  for (const row of quantiles) for (let i = 0; i < horizon; i++) f[at++] = row[i]! - centre;
  out.set(text, 8 + 8 * doubles + 4 * floats);
  return out;
}

/** The output of `encodeOutput`. Throws an Error when the bytes are of another version; they come from our own store. */
export function decodeOutput(
  known: Pick<LiveOutput, 'owner' | 'series' | 'seriesId' | 'sequence' | 'at'>,
  bytes: Uint8Array,
): LiveOutput {
  if (bytes[0] !== VERSION) throw new Error(`outputs of version ${bytes[0]} are not known`);
  // A copy, because float64 must be aligned.
  const copy = Buffer.from(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  const levelCount = copy.readUInt8(1);
  const scoreCount = copy.readUInt8(2);
  const horizon = copy.readUInt16LE(4);
  const doubles = 2 + horizon + levelCount + scoreCount * SCORE.length;
  const d = new Float64Array(copy.buffer, 8, doubles);
  const f = new Float32Array(copy.buffer, 8 + 8 * doubles, levelCount * horizon);
  const value = d[1]!;
  const centre = centreOf(value);
  const levels = [...d.subarray(2 + horizon, 2 + horizon + levelCount)];
  const quantiles = levels.map((_, q) => {
    const row = new Float64Array(horizon);
    for (let i = 0; i < horizon; i++) row[i] = centre + f[q * horizon + i]!;
    return row;
  });
  const scores = Array.from({ length: scoreCount }, (_, k) => {
    const from = 2 + horizon + levelCount + k * SCORE.length;
    return Object.fromEntries(SCORE.map((field, i) => [field, d[from + i]!])) as unknown as PointScore;
  });
  const text = 8 + 8 * doubles + 4 * f.length;
  const frequency = copy.toString('utf8', text, text + copy.readUInt8(3));
  const model = copy.toString('utf8', text + copy.readUInt8(3));
  const times = d.slice(2, 2 + horizon);
  return { ...known, position: d[0]!, value, frequency, times, levels, quantiles, scores, model };
}
