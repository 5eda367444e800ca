/**
 * Outputs as bytes, for the store and for other processes. Little endian:
 *
 *   version u8 · levels u8 · scores u8 · length of frequency u8 · horizon u16 · length of model u16 · position f64 · value f64
 *   · times f64 [horizon] · levels f64 · scores f64 [scores × 6] · quantiles minus value f32 [levels × horizon] · frequency · model
 *
 * Quantiles lose what f32 cannot hold of their distance from the value, which is where the model's own numbers end.
 */
import type { LiveOutput, PointScore } from './feed.js';

const VERSION = 1;
const FIXED = 8 + 16;
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
  const frequency = Buffer.from(output.frequency);
  const model = Buffer.from(output.model);
  const doubles = horizon + levels.length + scores.length * SCORE.length;
  const size = FIXED + 8 * doubles + 4 * levels.length * horizon + frequency.length + model.length;
  const out = Buffer.allocUnsafe(size);
  out.writeUInt8(VERSION, 0);
  out.writeUInt8(levels.length, 1);
  out.writeUInt8(scores.length, 2);
  out.writeUInt8(frequency.length, 3);
  out.writeUInt16LE(horizon, 4);
  out.writeUInt16LE(model.length, 6);
  out.writeDoubleLE(output.position, 8);
  out.writeDoubleLE(output.value, 16);
  let at = FIXED;
  for (const time of times) at = out.writeDoubleLE(time, at);
  for (const level of levels) at = out.writeDoubleLE(level, at);
  for (const score of scores) for (const field of SCORE) at = out.writeDoubleLE(score[field], at);
  const centre = centreOf(output.value);
  for (const row of quantiles) for (let i = 0; i < horizon; i++) at = out.writeFloatLE(row[i]! - centre, at);
  out.set(frequency, at);
  out.set(model, at + frequency.length);
  return out;
}

/** The output of `encodeOutput`. Throws an Error when the bytes are of another version; they come from our own store. */
export function decodeOutput(
  known: Pick<LiveOutput, 'owner' | 'series' | 'seriesId' | 'sequence' | 'at'>,
  bytes: Buffer,
): LiveOutput {
  if (bytes.readUInt8(0) !== VERSION) throw new Error(`outputs of version ${bytes[0]} are not known`);
  const levelCount = bytes.readUInt8(1);
  const scoreCount = bytes.readUInt8(2);
  const frequencyLength = bytes.readUInt8(3);
  const horizon = bytes.readUInt16LE(4);
  const value = bytes.readDoubleLE(16);
  let at = FIXED;
  const doubles = (count: number) =>
    Float64Array.from({ length: count }, () => {
      at += 8;
      return bytes.readDoubleLE(at - 8);
    });
  const times = doubles(horizon);
  const levels = [...doubles(levelCount)];
  const scores = Array.from({ length: scoreCount }, () => {
    const numbers = doubles(SCORE.length);
    return Object.fromEntries(SCORE.map((field, i) => [field, numbers[i]!])) as unknown as PointScore;
  });
  const centre = centreOf(value);
  const quantiles = levels.map(() =>
    Float64Array.from({ length: horizon }, () => {
      at += 4;
      return centre + bytes.readFloatLE(at - 4);
    }),
  );
  const frequency = bytes.toString('utf8', at, at + frequencyLength);
  const model = bytes.toString('utf8', at + frequencyLength);
  return { ...known, position: bytes.readDoubleLE(8), value, frequency, times, levels, quantiles, scores, model };
}
