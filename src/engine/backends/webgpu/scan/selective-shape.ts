/** How the selective scan lies on the GPU: lanes of a channel, states of a lane, tiles and segments of a sequence. */
import { columnsOf, type Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import { tuning } from './tuning.js';

export interface SelectiveShape {
  batch: number;
  length: number;
  dInner: number;
  dState: number;
  /** Invocations that share a channel. */
  lanes: number;
  /** vec4s of states an invocation holds. */
  vecs: number;
  /** States of a channel, padded to whole vec4s of every lane. */
  padded: number;
  /** Tokens of a tile; a checkpoint is the state that enters one. */
  steps: number;
  tiles: number;
  /** Tokens of a segment, a multiple of `steps`, and how many segments a sequence has. */
  segment: number;
  nSegments: number;
}

/** Lanes, vec4s of states of a lane, and tokens of a tile for a state size. */
function lanesFor(dState: number, software: boolean): { lanes: number; vecs: number; steps: number } {
  // Eight lanes keep more states in registers; beyond 128 states the sums over lanes would outgrow workgroup memory.
  const most = dState > 32 && dState <= 128 ? 8 : tuning.selective.lanes;
  let lanes = 1;
  while (lanes < most && lanes * 4 < dState) lanes *= 2;
  const vecs = Math.ceil(dState / (lanes * 4));
  // The backward kernel keeps a tile's states in registers: fewer tokens where a token has more.
  // They are written out there, and software adapters take many seconds to compile long kernels.
  const { softwareSteps, steps } = tuning.selective;
  return { lanes, vecs, steps: Math.max(lanes, 4, software || vecs > 8 ? softwareSteps : vecs === 1 ? steps : 8) };
}

export function selectiveShape(
  recorder: Recorder,
  dims: { batch: number; length: number; dInner: number; dState: number },
  oneSegment = false,
): SelectiveShape {
  const { lanes, vecs, steps } = lanesFor(dims.dState, recorder.gpu.software);
  const { enoughInvocations, targetInvocations, shortestSegment } = tuning.selective;
  const invocations = dims.batch * dims.dInner * lanes;
  let nSegments = 1;
  if (!oneSegment && invocations < enoughInvocations) {
    const most = Math.floor(dims.length / shortestSegment);
    nSegments = Math.max(1, Math.min(most, Math.ceil(targetInvocations / Math.max(1, invocations))));
  }
  const segment = Math.max(steps, Math.ceil(dims.length / nSegments / steps) * steps);
  return {
    ...dims,
    lanes,
    vecs,
    padded: 4 * lanes * vecs,
    steps,
    tiles: Math.ceil(dims.length / steps),
    segment,
    nSegments: Math.max(1, Math.ceil(dims.length / segment)),
  };
}

export function selectiveDims(args: { x: Tensor; B: Tensor }): {
  batch: number;
  length: number;
  dInner: number;
  dState: number;
} {
  const [batch, length, dInner] = args.x.shape;
  return { batch, length, dInner, dState: columnsOf(args.B) };
}
