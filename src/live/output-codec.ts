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
export const encodeOutput = (output: LiveOutput): Buffer => encodeOutputs([output])[0]!;

/** Many at once, in one piece of memory. */
export function encodeOutputs(outputs: readonly LiveOutput[]): Buffer[] {
  const sizes = outputs.map(sizeOf);
  // Each begins where float64 may lie.
  const aligned = (size: number) => 8 * Math.ceil(size / 8);
  const { buffer } = new Uint8Array(sizes.reduce((sum, size) => sum + aligned(size), 0));
  let at = 0;
  return outputs.map((output, i) => {
    const out = Buffer.from(buffer, at, sizes[i]!);
    at += aligned(sizes[i]!);
    encodeInto(output, out);
    return out;
  });
}

const doublesOf = ({ times, levels, scores }: LiveOutput) =>
  2 + times.length + levels.length + scores.length * SCORE.length;

const sizeOf = (output: LiveOutput) =>
  8 +
  8 * doublesOf(output) +
  4 * output.levels.length * output.times.length +
  Buffer.byteLength(output.frequency) +
  Buffer.byteLength(output.model);

function encodeInto(output: LiveOutput, out: Buffer): void {
  const { times, levels, quantiles, scores, frequency, model } = output;
  const horizon = times.length;
  const doubles = doublesOf(output);
  const floats = levels.length * horizon;
  out.writeUInt8(VERSION, 0);
  out.writeUInt8(levels.length, 1);
  out.writeUInt8(scores.length, 2);
  out.writeUInt16LE(horizon, 4);
  const d = new Float64Array(out.buffer, out.byteOffset + 8, doubles);
  d[0] = output.position;
  d[1] = output.value;
  d.set(times, 2);
  d.set(levels, 2 + horizon);
  let at = 2 + horizon + levels.length;
  for (const score of scores) for (const field of SCORE) d[at++] = score[field];
  const f = new Float32Array(out.buffer, out.byteOffset + 8 + 8 * doubles, floats);
  const centre = centreOf(output.value);
  at = 0;
  for (const row of quantiles) for (let i = 0; i < horizon; i++) f[at++] = row[i]! - centre;
  const text = 8 + 8 * doubles + 4 * floats;
  const frequencyLength = out.write(frequency, text);
  out.writeUInt8(frequencyLength, 3);
  out.writeUInt16LE(out.write(model, text + frequencyLength), 6);
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
