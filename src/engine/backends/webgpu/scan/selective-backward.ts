/** Gradient of Mamba-1's selective scan; see selective-scan-backward.wgsl for the formulas. */
import type { SelectiveScanBackwardArgs } from '../../../kernels.js';
import type { Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import { assertDense, dtBounds, optionsOf } from './options.js';
import { sumParts } from './parts.js';
import { allocSegments, carry, forwardPasses } from './selective.js';
import { type SelectiveShape, selectiveDims, selectiveShape } from './selective-shape.js';
import { tuning } from './tuning.js';

/** Shape of what the forward call saves: the state that enters every tile. */
export function selectiveCheckpointShape(
  recorder: Recorder,
  dims: { batch: number; length: number; dInner: number; dState: number },
): readonly number[] {
  const shape = selectiveShape(recorder, dims);
  return [shape.batch, shape.tiles, shape.dInner, shape.padded];
}

function reversePass(
  recorder: Recorder,
  args: SelectiveScanBackwardArgs,
  shape: SelectiveShape,
  segments: Tensor,
  sums: Tensor,
): void {
  const { dt, aLog, C, z, dOut, dtBias, lengths } = args;
  const channels = Math.max(8, Math.min(tuning.selective.channels, 256 / shape.lanes));
  const blocks = Math.ceil(shape.dInner / channels);
  const rows = shape.batch * shape.nSegments;
  const { HAS_SKIP: _, ZOH: __, ...options } = optionsOf(args);
  recorder.dispatch({
    kernel: 'selective-scan-reverse',
    constants: {
      CHANNELS: channels,
      LANES: shape.lanes,
      VECS: shape.vecs,
      STATES: shape.dState,
      STEPS: shape.steps,
      PER: shape.steps / shape.lanes,
      ...options,
    },
    bindings: { dt, aLog, C, z, dOut, dtBias, lengths, segments, sums },
    params: {
      rows,
      blocks,
      length: shape.length,
      dInner: shape.dInner,
      segment: shape.segment,
      nSegments: shape.nSegments,
      ...dtBounds(args.dtLimit),
    },
    workgroups: rows * blocks,
  });
}

/** Channels of a workgroup: as tuned, or as many as workgroup memory holds (the arrays of selective-scan-backward.wgsl). */
function backwardChannels(recorder: Recorder, shape: SelectiveShape, round: number, gated: boolean): number {
  const { lanes, padded, steps } = shape;
  const ofChannel = steps * 16 + round * lanes * (gated ? 12 : 8) + round * 2 * padded * 4;
  const fits = Math.floor((recorder.gpu.limits.maxComputeWorkgroupStorageSize - steps * padded * 8 - 16) / ofChannel);
  const wanted = Math.max(8, Math.min(tuning.selective.backwardChannels, 256 / lanes));
  return 2 ** Math.floor(Math.log2(Math.max(1, Math.min(wanted, fits))));
}

export function selectiveScanBackward(recorder: Recorder, args: SelectiveScanBackwardArgs): void {
  const { x, dt, aLog, B, C, z, skip, dtBias, lengths, dOut, dX, dDt, dZ, dB, dC, dALog, dSkip, dDtBias } = args;
  const shape = selectiveShape(recorder, selectiveDims(args));
  const { batch, length, dInner, dState, lanes, vecs, padded, steps } = shape;
  assertDense({ aLog, dALog, checkpoints: args.checkpoints });

  let checkpoints = args.checkpoints;
  if (!checkpoints) {
    checkpoints = recorder.alloc(selectiveCheckpointShape(recorder, shape));
    if (batch * length * dInner > 0) {
      const { x, dt, aLog, B, C, dtBias, lengths, dtLimit, discretisation } = args;
      forwardPasses(recorder, { x, dt, aLog, B, C, dtBias, lengths, dtLimit, discretisation }, undefined, checkpoints);
    }
  }
  const rows = batch * shape.nSegments;
  const round = Math.max(4, lanes);
  const channels = backwardChannels(recorder, shape, round, z !== undefined);
  const blocks = Math.ceil(dInner / channels);
  const aParts = batch * length * blocks * 2 * padded;
  const channelParts = aParts + rows * dInner * padded;
  const scratch = recorder.alloc([channelParts + rows * 2 * dInner]);
  const cut = shape.nSegments > 1 ? allocSegments(recorder, shape) : undefined;
  if (cut) {
    reversePass(recorder, args, shape, cut.segments, cut.sums);
    carry(recorder, shape, { aLog, ...cut }, true);
  }
  const rounds = steps / round;
  const per = steps / lanes;
  const statePer = Math.ceil((steps * padded) / (channels * lanes));
  recorder.dispatch({
    kernel: 'selective-scan-backward',
    constants: {
      CHANNELS: channels,
      LANES: lanes,
      VECS: vecs,
      STATES: dState,
      STEPS: steps,
      ROUND: round,
      ROUNDS: rounds,
      EACH: round / lanes,
      PER: per,
      STATE_PER: statePer,
      START: cut ? 2 : 0,
      WANT_DZ: dZ !== undefined,
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
      dOut,
      checkpoints,
      segments: cut?.segments,
      dX,
      dDt,
      dZ,
      scratch,
    },
    params: {
      rows,
      blocks,
      length,
      dInner,
      segment: shape.segment,
      nSegments: shape.nSegments,
      tilesPerRow: shape.tiles,
      aParts,
      channelParts,
      ...dtBounds(args.dtLimit),
    },
    workgroups: length === 0 ? 0 : rows * blocks,
  });

  const overBlocks = { columns: dState, total: batch * length * dState, rows: blocks };
  const bc = { ...overBlocks, step: 2 * padded, rowStep: blocks * 2 * padded };
  sumParts(recorder, scratch, { out: dB, ...bc, partsAt: 0 }, 'selective-scan-sum (dB)');
  sumParts(recorder, scratch, { out: dC, ...bc, partsAt: padded }, 'selective-scan-sum (dC)');
  const terms = length === 0 ? 0 : rows;
  sumParts(
    recorder,
    scratch,
    {
      out: dALog,
      columns: dState,
      total: dInner * dState,
      rows: terms,
      step: dInner * padded,
      partsAt: aParts,
      rowStep: padded,
      aLog,
    },
    'selective-scan-sum (dA)',
  );
  const channel = { columns: dInner, total: dInner, rows: terms, step: 2 * dInner, rowStep: 0 };
  if (dDtBias)
    sumParts(recorder, scratch, { out: dDtBias, ...channel, partsAt: channelParts }, 'selective-scan-sum (bias)');
  if (dSkip) {
    sumParts(
      recorder,
      scratch,
      { out: dSkip, ...channel, partsAt: channelParts + dInner },
      'selective-scan-sum (skip)',
    );
  }
  recorder.free(scratch);
  if (cut) {
    recorder.free(cut.segments);
    recorder.free(cut.sums);
  }
  if (!args.checkpoints) recorder.free(checkpoints);
}
