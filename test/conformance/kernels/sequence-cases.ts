/** Convolution, both scans and attention: kernels with a state, ragged lengths and a direction of time. */
import type { Precision } from '../../../src/engine/kernels.js';
import type { Random } from '../../../src/engine/random.js';
import type { Arg } from './call.js';
import {
  chance,
  flat,
  flatOutput,
  given,
  type KernelCase,
  lengths,
  output,
  pick,
  rows,
  sequence,
  state,
  uniform,
} from './case.js';

type Shape = readonly number[];

/** Optional: a state on forward calls, lengths on any. */
function context(
  random: Random,
  backward: boolean,
  batch: number,
  length: number,
  stateShape: Shape,
  tolerance?: number,
) {
  return {
    state: !backward && chance(random, 0.6) ? { ...state(random, stateShape), tolerance } : undefined,
    lengths: chance(random, 0.4) ? lengths(random, batch, length) : undefined,
  };
}

function conv(backward: boolean): KernelCase {
  return {
    name: backward ? 'convBackward' : 'conv',
    training: backward,
    make: (random, small) => {
      const { batch, length } = sequence(random, small);
      const channels = small ? 1 + random.integer(3) : pick(random, [1, 3, 8, 31, 64, 100]);
      const taps = small ? 1 + random.integer(4) : pick(random, [1, 2, 3, 4, 4, 4, 4, 7, 40]);
      const shape = [batch, length, channels];
      const bias = chance(random, 0.7);
      const inputs = {
        x: rows(random, shape),
        weight: flat(random, [channels, taps], 0.6),
        bias: bias ? flat(random, [channels]) : undefined,
        ...context(random, backward, batch, length, [batch, taps - 1, channels]),
      };
      const options = { activation: pick(random, ['none', 'silu']) };
      if (!backward) return { kernel: 'conv', args: given({ out: output(shape), ...inputs }), options };
      const gradients = {
        dX: output(shape),
        dWeight: flatOutput([channels, taps]),
        dBias: bias ? flatOutput([channels]) : undefined,
        dOut: rows(random, shape),
      };
      return { kernel: 'convBackward', args: given({ ...gradients, ...inputs }), options };
    },
  };
}

/** A = −exp(aLog) between about −0.2 and −16; raw dt so that softplus(dt) is between 0.02 and 2. */
function decay(random: Random, shape: Shape): Arg {
  return { shape, data: uniform(random, shape, -1.5, 2.8) };
}

function scanOptions(random: Random) {
  return {
    discretisation: pick(random, ['euler', 'euler', 'zoh', undefined]),
    dtLimit: pick(random, [undefined, undefined, [0.05, 0.6]]),
  };
}

function selectiveScan(backward: boolean): KernelCase {
  return {
    name: backward ? 'selectiveScanBackward' : 'selectiveScan',
    runs: backward ? 5 : undefined,
    training: backward,
    make: (random, small) => {
      const dInner = small ? 1 + random.integer(3) : pick(random, [1, 3, 16, 33, 64, 96]);
      const dState = small ? 1 + random.integer(3) : pick(random, [1, 2, 5, 8, 16, 16, 16, 17, 32, 64]);
      const { batch, length } = sequence(random, small, dInner * dState);
      const shape = [batch, length, dInner];
      const bc = [batch, length, dState];
      const [skip, dtBias, z] = [0, 0, 0].map(() => chance(random, 0.7));
      const inputs = {
        x: rows(random, shape),
        dt: rows(random, shape, 1, dtBias ? 0 : -1.5),
        aLog: decay(random, [dInner, dState]),
        B: rows(random, bc),
        C: rows(random, bc),
        skip: skip ? flat(random, [dInner]) : undefined,
        dtBias: dtBias ? flat(random, [dInner], 0.5, -1.5) : undefined,
        z: z ? rows(random, shape) : undefined,
        ...context(random, backward, batch, length, [batch, dInner, dState]),
      };
      const options = scanOptions(random);
      if (!backward) return { kernel: 'selectiveScan', args: given({ out: output(shape), ...inputs }), options };
      const gradients = {
        dOut: rows(random, shape),
        dX: output(shape),
        dDt: output(shape),
        dALog: flatOutput([dInner, dState]),
        dB: output(bc),
        dC: output(bc),
        dSkip: skip ? flatOutput([dInner]) : undefined,
        dDtBias: dtBias ? flatOutput([dInner]) : undefined,
        dZ: z ? output(shape) : undefined,
      };
      return { kernel: 'selectiveScanBackward', args: given({ ...gradients, ...inputs }), options };
    },
  };
}

function ssd(backward: boolean, precision: Precision = 'f32'): KernelCase {
  // Operands rounded to f16 where the backend has matrix units; elsewhere f32 is used.
  const tolerance = precision === 'f16' ? 5e-3 : undefined;
  return {
    name: `${backward ? 'ssdBackward' : 'ssd'}${precision === 'f16' ? ' of f16 operands' : ''}`,
    runs: precision === 'f16' ? 3 : undefined,
    training: backward,
    make: (random, small) => {
      const nGroups = small ? 1 + random.integer(2) : pick(random, [1, 1, 1, 2, 3]);
      const nHeads = nGroups * (small ? 1 + random.integer(2) : pick(random, [1, 2, 4]));
      const headDim = small ? 1 + random.integer(3) : pick(random, [1, 5, 8, 16, 32, 64]);
      const dState = small ? 1 + random.integer(3) : pick(random, [1, 5, 16, 16, 32, 64, 128]);
      const dInner = nHeads * headDim;
      const { batch, length } = sequence(random, small, dInner * dState);
      const shape = [batch, length, dInner];
      const dtShape = [batch, length, nHeads];
      const bc = [batch, length, nGroups * dState];
      const [skip, dtBias] = [0, 0].map(() => chance(random, 0.7));
      const inputs = {
        x: rows(random, shape),
        dt: rows(random, dtShape, 1, dtBias ? 0 : -1.5),
        aLog: decay(random, [nHeads]),
        B: rows(random, bc),
        C: rows(random, bc),
        skip: skip ? flat(random, [nHeads]) : undefined,
        dtBias: dtBias ? flat(random, [nHeads], 0.5, -1.5) : undefined,
        ...context(random, backward, batch, length, [batch, nHeads, headDim, dState], tolerance),
      };
      const options = { nHeads, nGroups, precision, ...scanOptions(random) };
      if (!backward) return { kernel: 'ssd', args: given({ out: output(shape, tolerance), ...inputs }), options };
      const gradients = {
        dOut: rows(random, shape),
        dX: output(shape, tolerance),
        dDt: output(dtShape, tolerance),
        dALog: flatOutput([nHeads], tolerance),
        dB: output(bc, tolerance),
        dC: output(bc, tolerance),
        dSkip: skip ? flatOutput([nHeads], tolerance) : undefined,
        dDtBias: dtBias ? flatOutput([nHeads], tolerance) : undefined,
      };
      return { kernel: 'ssdBackward', args: given({ ...gradients, ...inputs }), options };
    },
  };
}

function attention(backward: boolean): KernelCase {
  return {
    name: backward ? 'attentionBackward' : 'attention',
    training: backward,
    make: (random, small) => {
      const { batch, length } = small
        ? sequence(random, true)
        : { batch: 1 + random.integer(2), length: pick(random, [0, 1, 2, 16, 33, 64, 65, 97]) };
      const kvHeads = 1 + random.integer(2);
      const nHeads = kvHeads * (1 + random.integer(2));
      const headDim = small ? 1 + random.integer(2) : pick(random, [1, 4, 8, 16, 32, 33, 64]);
      const window = small ? 1 + random.integer(4) : pick(random, [1, 2, 5, 16, 32, 63, 64, 65]);
      const shape = [batch, length, nHeads * headDim];
      const kv = [batch, length, kvHeads * headDim];
      const cache = !backward && chance(random, 0.6);
      const cacheShape = [batch, window - 1, kvHeads * headDim];
      const counts = Int32Array.from({ length: batch }, () => pick(random, [0, window - 1, random.integer(window)]));
      const inputs = {
        q: rows(random, shape),
        k: rows(random, kv),
        v: rows(random, kv),
        bias: flat(random, [nHeads, window]),
        cacheK: cache ? cacheArg(random, cacheShape, counts) : undefined,
        cacheV: cache ? cacheArg(random, cacheShape, counts) : undefined,
        cacheCount: cache ? { shape: [batch], data: counts, output: true } : undefined,
        lengths: chance(random, 0.4) ? lengths(random, batch, length) : undefined,
      };
      const options = { nHeads, kvHeads, window };
      if (!backward) return { kernel: 'attention', args: given({ out: output(shape), ...inputs }), options };
      const gradients = {
        dOut: rows(random, shape),
        // With one row for all values, or all keys, the weights have no gradient: terms of size 1 cancel.
        dQ: { ...output(shape), floor: 0.1 },
        dK: { ...output(kv), floor: 0.1 },
        dV: output(kv),
        dBias: { ...flatOutput([nHeads, window]), floor: 1 },
      };
      return { kernel: 'attentionBackward', args: given({ ...gradients, ...inputs }), options };
    },
  };
}

/** A cache whose entries before the valid ones are 0, as a new state has them: their contents afterwards are nobody's. */
function cacheArg(random: Random, shape: Shape, counts: Int32Array): Arg {
  const arg = state(random, shape);
  const [batch, past, columns] = shape;
  for (let b = 0; b < batch; b++) {
    const start = b * past * columns;
    (arg.data as Float64Array).fill(0, start, start + (past - counts[b]) * columns);
  }
  return arg;
}

export const sequenceCases: KernelCase[] = [false, true].flatMap((backward) => [
  conv(backward),
  selectiveScan(backward),
  ssd(backward),
  ssd(backward, 'f16'),
  attention(backward),
]);
