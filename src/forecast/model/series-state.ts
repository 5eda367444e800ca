/**
 * What a live forecast of one series continues from: a plain value of fixed size that can be kept anywhere.
 *
 * Tokens end every `patch` values, counted from the series' first observation. The network's tensors stand where the
 * last token with a value behind it ended; the features know every value so far. The values since then, one to `patch`
 * of them, reach the network as a look-ahead token whenever a forecast is wanted, and as a whole token once the patch is
 * full and the next value comes.
 */

import { sizeOf } from '../../engine/tensor.js';
import { halfToNumber, numberToHalf } from '../../engine/weights/half.js';
import { AdderError } from '../../platform/errors.js';
import { FeatureState } from './features.js';
import { frequencyClass } from './frequency.js';
import type { ForecasterModel } from './model.js';

/** How a state's tensors are written: exactly, or rounded to half the size. */
export type StatePrecision = 'f32' | 'f16';

export interface SeriesState {
  /** Of the weights that the state belongs to. */
  readonly digest: string;
  /** Class of the sampling frequency, see frequency.ts. */
  readonly frequency: number;
  /** Running scales, the last patch and the seasons before it; knows season and position. */
  readonly features: FeatureState;
  /** All tensors of the network's state, one after the other in the order of its `stateSpecs`. */
  readonly tensors: Float32Array;
}

/** The state of a series before its first value. `season` in steps (1: unknown), `frequency` as pandas writes it. */
export function newSeriesState(
  model: ForecasterModel,
  { season, frequency }: { season: number; frequency?: string },
): SeriesState {
  return {
    digest: model.digest,
    frequency: frequencyClass(frequency),
    features: new FeatureState(model.config, season),
    tensors: new Float32Array(tensorSize(model)),
  };
}

/** Numbers in the network's state of one series. */
export function tensorSize(model: ForecasterModel): number {
  return Object.values(model.network.stateSpecs(1)).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** Whole tokens that the tensors have taken in after `position` values: the last value is always ahead of them. */
export function tokensBehind(position: number, patch: number): number {
  return position > 0 ? Math.floor((position - 1) / patch) : 0;
}

/** Raised when the meaning of the bytes changes. */
const FORMAT = 1;
const DIGEST_BYTES = 32;
// Little-endian: u16 format | u8 1: f16 tensors | u8 frequency class | u32 season | u32 features | u32 tensors | digest
const HEADER = 16 + DIGEST_BYTES;

/**
 * A state as bytes: exact with `f32`, and with `f16` half as large, the network's tensors rounded to 11 bits.
 * docs/forecaster.md says what that costs.
 */
export function stateToBytes(state: SeriesState, precision: StatePrecision = 'f32'): Uint8Array {
  const features = state.features.serialise();
  const { tensors } = state;
  const half = precision === 'f16';
  const bytes = new Uint8Array(HEADER + 8 * features.length + (half ? 2 : 4) * tensors.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, FORMAT, true);
  view.setUint8(2, half ? 1 : 0);
  view.setUint8(3, state.frequency);
  view.setUint32(4, state.features.season, true);
  view.setUint32(8, features.length, true);
  view.setUint32(12, tensors.length, true);
  new TextEncoder().encodeInto(state.digest, bytes.subarray(16, HEADER));
  new Float64Array(bytes.buffer, HEADER, features.length).set(features);
  const at = HEADER + 8 * features.length;
  if (half) new Uint16Array(bytes.buffer, at).set(tensors.map(numberToHalf));
  else new Float32Array(bytes.buffer, at).set(tensors);
  return bytes;
}

/**
 * The state that `stateToBytes` wrote.
 *
 * @throws AdderError `BAD_STATE` if these are no such bytes, `STATE_OF_OTHER_MODEL` if other weights made them
 */
export function stateFromBytes(model: ForecasterModel, bytes: Uint8Array): SeriesState {
  const bad = (message: string, cause?: unknown) =>
    new AdderError({ code: 'BAD_STATE', message, fix: 'rebuild the state from the history of the series', cause });
  if (bytes.length < HEADER) throw bad(`${bytes.length} bytes are no state of a series`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== FORMAT) throw bad(`format ${view.getUint16(0, true)} of states is not known`);
  const half = view.getUint8(2) === 1;
  const season = view.getUint32(4, true);
  const [featureCount, tensorCount] = [view.getUint32(8, true), view.getUint32(12, true)];
  const digest = new TextDecoder().decode(bytes.subarray(16, HEADER)).replace(/\0+$/, '');
  if (digest !== model.digest) {
    throw new AdderError({
      code: 'STATE_OF_OTHER_MODEL',
      message: `this state belongs to the weights ${digest}, the model has ${model.digest}`,
      fix: 'continue it with the model it was made by, or rebuild it from the history of the series',
    });
  }
  const size = HEADER + 8 * featureCount + (half ? 2 : 4) * tensorCount;
  if (bytes.length !== size || tensorCount !== tensorSize(model)) {
    throw bad(`${bytes.length} bytes with ${tensorCount} numbers of the network do not make a state of this model`);
  }
  // A copy, because the arrays must be aligned; `slice` of a Buffer makes none.
  const { buffer } = Uint8Array.from(bytes);
  try {
    const features = FeatureState.deserialise(model.config, season, new Float64Array(buffer, HEADER, featureCount));
    const at = HEADER + 8 * featureCount;
    const tensors = half
      ? Float32Array.from(new Uint16Array(buffer, at), halfToNumber)
      : new Float32Array(buffer, at).slice();
    return { digest, frequency: view.getUint8(3), features, tensors };
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw bad(cause.message, cause);
  }
}
