/** Mamba-2's SSD, forward, in chunks: decay, scores, states, output. Each step is a kernel; their headers have the formulas. */
import type { SsdArgs } from '../../../kernels.js';
import type { Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import { assertDense, dtBounds, optionsOf } from './options.js';
import { quads, type SsdShape, sizes, ssdShape, tileConstants } from './ssd-shape.js';
import { tuning } from './tuning.js';

type Inputs = Omit<SsdArgs, 'out' | 'checkpoints'>;

/** decay [batch, nChunks, nHeads, chunk, 4]: weight and running Σ dt·A of every token. */
export function decayOf(recorder: Recorder, args: Inputs, shape: SsdShape): Tensor {
  const { dt, aLog, dtBias, lengths } = args;
  const { batch, nChunks, nHeads, chunk } = shape;
  const decay = recorder.alloc([batch, nChunks, nHeads, chunk, 4]);
  const { HAS_BIAS, HAS_LENGTHS, ZOH } = optionsOf(args);
  const total = batch * nChunks * nHeads;
  recorder.dispatch({
    kernel: 'ssd-decay',
    constants: { CHUNK: chunk, HAS_BIAS, HAS_LENGTHS, ZOH },
    bindings: { dt, aLog, dtBias, lengths, decay },
    params: { total, length: shape.length, nChunks, nHeads, ...dtBounds(args.dtLimit) },
    workgroups: total,
  });
  return decay;
}

/** scores [batch, nChunks, nGroups, chunk, chunk]: C_t·B_k, filled on and below the diagonal. */
export function scoresOf(recorder: Recorder, args: Inputs, shape: SsdShape): Tensor {
  const { B, C, lengths } = args;
  const { batch, nChunks, nGroups, chunk, tokenTile, pairs } = shape;
  const scores = recorder.alloc([batch, nChunks, nGroups, chunk, chunk]);
  const total = batch * nChunks * nGroups * pairs;
  recorder.dispatch({
    kernel: 'ssd-cb',
    constants: {
      CHUNK: chunk,
      HAS_LENGTHS: lengths !== undefined,
      ...sizes(recorder, shape).constants,
      ...quads(shape, B, C),
      ...tileConstants(recorder, shape, tokenTile, tokenTile),
    },
    bindings: { B, C, lengths, scores },
    params: { dState: shape.dState, total, length: shape.length, nChunks, nGroups, pairs },
    workgroups: total,
  });
  return scores;
}

/** What ssd-states runs over: x and B forwards, dOut and C backwards for the gradient. */
interface StateInputs {
  x: Tensor;
  V: Tensor;
  lengths?: Tensor;
  state?: Tensor;
  reverse: boolean;
}

/** Fills states [batch, nChunks, nHeads, headDim, dState]: what enters every chunk (reversed: the gradient of what leaves it). */
export function fillStates(
  recorder: Recorder,
  shape: SsdShape,
  decay: Tensor,
  states: Tensor,
  inputs: StateInputs,
): void {
  const { batch, length, nChunks, nHeads, headDim, dState, chunk, rowTiles, stateTiles } = shape;
  const { x, V, lengths, state, reverse } = inputs;
  const serial = batch * nHeads * rowTiles * stateTiles;
  const local = nChunks > 1 && serial < tuning.ssd.serialWorkgroups;
  const total = local ? serial * nChunks : serial;
  const name = reverse ? 'ssd-states (reverse)' : 'ssd-states';
  recorder.dispatch({
    kernel: 'ssd-states',
    label: name,
    constants: {
      CHUNK: chunk,
      HAS_LENGTHS: lengths !== undefined,
      HAS_STATE: state !== undefined && !local,
      LOCAL: local,
      REVERSE: reverse,
      ...sizes(recorder, shape).constants,
      ...quads(shape, x, V, states, state),
      ...tileConstants(recorder, shape, shape.rowTile, shape.stateTile),
    },
    bindings: { x, V, decay, lengths, states, state },
    params: {
      ...sizes(recorder, shape).params,
      total,
      length,
      nChunks,
      nHeads,
      headsPerGroup: shape.headsPerGroup,
      rowTiles,
      columnTiles: stateTiles,
    },
    workgroups: total,
  });
  if (!local) return;
  const elements = batch * nHeads * headDim * dState;
  recorder.dispatch({
    kernel: 'ssd-carry',
    label: reverse ? 'ssd-carry (reverse)' : 'ssd-carry',
    constants: { CHUNK: chunk, AHEAD: 8, HAS_STATE: state !== undefined, REVERSE: reverse },
    bindings: { decay, states, state },
    params: { headStates: shape.headDim * shape.dState, total: elements, nChunks, nHeads },
    workgroups: Math.ceil(elements / 128),
  });
}

function output(
  recorder: Recorder,
  args: SsdArgs,
  shape: SsdShape,
  parts: { decay: Tensor; scores: Tensor; states?: Tensor },
): void {
  const { x, C, skip, lengths, out } = args;
  const { batch, length, nChunks, nHeads, nGroups, chunk, rowTiles, tokenTiles } = shape;
  const total = batch * nChunks * nHeads * rowTiles * tokenTiles;
  recorder.dispatch({
    kernel: 'ssd-scan',
    constants: {
      CHUNK: chunk,
      HAS_LENGTHS: lengths !== undefined,
      HAS_SKIP: skip !== undefined,
      HAS_STATES: parts.states !== undefined,
      ...sizes(recorder, shape).constants,
      ...quads(shape, x, C, out, parts.states),
      ...tileConstants(recorder, shape, shape.tokenTile, shape.rowTile),
    },
    bindings: { x, C, skip, lengths, decay: parts.decay, scores: parts.scores, states: parts.states, out },
    params: {
      ...sizes(recorder, shape).params,
      total,
      length,
      nChunks,
      nHeads,
      headsPerGroup: shape.headsPerGroup,
      nGroups,
      columnTiles: rowTiles,
    },
    workgroups: total,
  });
}

/** Most states a head of the decode step may have: its row is one workgroup's at most. */
const STEP_STATES = 1024;

/** One token with a state: the decode step. */
function step(recorder: Recorder, args: SsdArgs, shape: SsdShape): void {
  const { x, dt, aLog, B, C, skip, dtBias, lengths, out, state } = args;
  const { batch, nHeads, headDim, dState } = shape;
  const lanes = Math.ceil(dState / 4);
  const rows = Math.max(1, Math.floor(128 / lanes));
  const passes = Math.min(4, Math.ceil(headDim / rows));
  const blocks = Math.ceil(headDim / (rows * passes));
  const vector = dState % 4 === 0 && (state?.offset ?? 0) % 4 === 0;
  const { HAS_BIAS, HAS_SKIP, HAS_LENGTHS, ZOH } = optionsOf(args);
  const total = batch * nHeads * blocks;
  recorder.dispatch({
    kernel: 'ssd-step',
    constants: {
      LANES: lanes,
      ROWS: rows,
      PASSES: passes,
      HEAD_DIM: headDim,
      STATES: dState,
      CELL: vector ? 'vec4f' : 'f32',
      VECTOR: vector ? 1 : 0,
      SCALAR: vector ? 0 : 1,
      HAS_BIAS,
      HAS_SKIP,
      HAS_LENGTHS,
      ZOH,
    },
    bindings: { x, dt, aLog, B, C, skip, dtBias, lengths, out, state },
    params: { total, nHeads, headsPerGroup: shape.headsPerGroup, blocks, ...dtBounds(args.dtLimit) },
    workgroups: total,
  });
}

export function ssd(recorder: Recorder, args: SsdArgs): void {
  const shape = ssdShape(recorder, args);
  const { batch, length, nHeads, nChunks, headDim, dState } = shape;
  if (batch * length * nHeads * headDim === 0) return;
  assertDense({ state: args.state, checkpoints: args.checkpoints });
  if (length === 1 && args.state && !args.checkpoints && dState <= STEP_STATES) {
    step(recorder, args, shape);
    return;
  }
  const decay = decayOf(recorder, args, shape);
  const scores = scoresOf(recorder, args, shape);
  const { x, B, C: _, lengths, state } = args;
  let states: Tensor | undefined;
  if (state || nChunks > 1) {
    states = args.checkpoints ?? recorder.alloc([batch, nChunks, nHeads, headDim, dState]);
    fillStates(recorder, shape, decay, states, { x, V: B, lengths, state, reverse: false });
  }
  output(recorder, args, shape, { decay, scores, states });
  recorder.free(decay);
  recorder.free(scores);
  if (states && !args.checkpoints) recorder.free(states);
}
