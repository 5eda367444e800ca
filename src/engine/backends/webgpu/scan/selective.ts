/** Mamba-1's selective scan, forward: one pass, or three where the batch alone does not fill the GPU. */
import type { SelectiveScanArgs } from '../../../kernels.js';
import type { Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import { assertDense, dtBounds, optionsOf } from './options.js';
import { type SelectiveShape, selectiveDims, selectiveShape } from './selective-shape.js';
import { tuning } from './tuning.js';

type Inputs = Omit<SelectiveScanArgs, 'out' | 'checkpoints'>;

/** What a pass over the segments reads and leaves. */
interface Pass {
  out?: Tensor;
  checkpoints?: Tensor;
  /** Where states start: zeros, the given `state`, or `segments`; and where they end. */
  start: 'zero' | 'state' | 'segments';
  end: 'nothing' | 'state' | 'segments';
  segments?: Tensor;
  sums?: Tensor;
  label: string;
}

const START = { zero: 0, state: 1, segments: 2 } as const;
const END = { nothing: 0, state: 1, segments: 2 } as const;

function pass(recorder: Recorder, args: Inputs, shape: SelectiveShape, what: Pass): void {
  const { x, dt, aLog, B, C, z, skip, dtBias, lengths, state } = args;
  const channels = Math.max(8, Math.min(tuning.selective.channels, 256 / shape.lanes));
  const blocks = Math.ceil(shape.dInner / channels);
  const rows = shape.batch * shape.nSegments;
  const per = shape.steps / shape.lanes;
  const statePer = Math.ceil((shape.steps * shape.padded) / (channels * shape.lanes));
  recorder.dispatch({
    kernel: 'selective-scan',
    label: what.label,
    constants: {
      CHANNELS: channels,
      LANES: shape.lanes,
      VECS: shape.vecs,
      STATES: shape.dState,
      STEPS: shape.steps,
      PER: per,
      STATE_PER: statePer,
      START: START[what.start],
      END: END[what.end],
      OUT: what.out !== undefined,
      SAVE: what.checkpoints !== undefined,
      ...optionsOf(args),
    },
    bindings: {
      x,
      dt,
      aLog,
      B,
      C,
      z,
      skip,
      dtBias,
      lengths,
      out: what.out,
      state,
      checkpoints: what.checkpoints,
      segments: what.segments,
      sums: what.sums,
    },
    params: {
      rows,
      blocks,
      length: shape.length,
      dInner: shape.dInner,
      segment: shape.segment,
      nSegments: shape.nSegments,
      tilesPerRow: shape.tiles,
      ...dtBounds(args.dtLimit),
    },
    workgroups: rows * blocks,
  });
}

/** Turns what segments leave into what enters them; see selective-scan-carry. */
export function carry(
  recorder: Recorder,
  shape: SelectiveShape,
  tensors: { aLog: Tensor; segments: Tensor; sums: Tensor; state?: Tensor },
  reverse: boolean,
): void {
  const total = shape.batch * shape.dInner * shape.lanes * shape.vecs;
  recorder.dispatch({
    kernel: 'selective-scan-carry',
    constants: {
      STATE_VECS: shape.lanes * shape.vecs,
      STATES: shape.dState,
      REVERSE: reverse,
      USE_STATE: tensors.state !== undefined,
    },
    bindings: { aLog: tensors.aLog, sums: tensors.sums, segments: tensors.segments, state: tensors.state },
    params: { total, nSegments: shape.nSegments, dInner: shape.dInner },
    workgroups: Math.ceil(total / 128),
  });
}

/** Scratch of a segmented pass: states at segment ends, and Σ dt of every segment. */
export function allocSegments(recorder: Recorder, shape: SelectiveShape): { segments: Tensor; sums: Tensor } {
  const { batch, nSegments, dInner, padded } = shape;
  return {
    segments: recorder.alloc([batch, nSegments, dInner, padded]),
    sums: recorder.alloc([batch, nSegments, dInner]),
  };
}

/** Runs the recurrence; with `out` it is the scan, without it fills `checkpoints` for a backward that has none. */
export function forwardPasses(recorder: Recorder, args: Inputs, out?: Tensor, checkpoints?: Tensor): void {
  const shape = selectiveShape(recorder, selectiveDims(args));
  if (shape.nSegments === 1) {
    const state = args.state ? 'state' : undefined;
    pass(recorder, args, shape, {
      out,
      checkpoints,
      start: state ?? 'zero',
      end: state ?? 'nothing',
      label: 'selective-scan',
    });
    return;
  }
  const { segments, sums } = allocSegments(recorder, shape);
  pass(recorder, args, shape, { start: 'zero', end: 'segments', segments, sums, label: 'selective-scan (ends)' });
  carry(recorder, shape, { aLog: args.aLog, segments, sums, state: args.state }, false);
  pass(recorder, args, shape, {
    out,
    checkpoints,
    start: 'segments',
    end: 'nothing',
    segments,
    label: 'selective-scan',
  });
  recorder.free(segments);
  recorder.free(sums);
}

/** One token with a state: the decode step. */
function step(recorder: Recorder, args: SelectiveScanArgs): void {
  const { out, x, dt, aLog, B, C, z, skip, dtBias, lengths, state } = args;
  const shape = selectiveShape(recorder, selectiveDims(args), true);
  const channels = Math.max(8, 128 / shape.lanes);
  const blocks = Math.ceil(shape.dInner / channels);
  const vector = shape.dState % 4 === 0 && (state?.offset ?? 0) % 4 === 0;
  recorder.dispatch({
    kernel: 'selective-scan-step',
    constants: {
      CHANNELS: channels,
      LANES: shape.lanes,
      VECS: shape.vecs,
      STATES: shape.dState,
      CELL: vector ? 'vec4f' : 'f32',
      VECTOR: vector ? 1 : 0,
      SCALAR: vector ? 0 : 1,
      ...optionsOf(args),
    },
    bindings: { x, dt, aLog, B, C, z, skip, dtBias, lengths, out, state },
    params: { batch: shape.batch, blocks, dInner: shape.dInner, ...dtBounds(args.dtLimit) },
    workgroups: shape.batch * blocks,
  });
}

export function selectiveScan(recorder: Recorder, args: SelectiveScanArgs): void {
  const [batch, length, dInner] = args.x.shape;
  if (batch === 0 || length === 0 || dInner === 0) return;
  assertDense({ aLog: args.aLog, state: args.state, checkpoints: args.checkpoints });
  if (length === 1 && args.state && !args.checkpoints) step(recorder, args);
  else forwardPasses(recorder, args, args.out, args.checkpoints);
}
