/**
 * Gradient of Mamba-2's SSD, for a forward call without state. Decay and scores are recomputed, states too unless the
 * forward call kept them as checkpoints; the kernels' headers have the formulas.
 */
import type { SsdBackwardArgs } from '../../../kernels.js';
import type { Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import { assertDense, dtBounds, optionsOf } from './options.js';
import { sumParts } from './parts.js';
import { decayOf, fillStates, scoresOf } from './ssd.js';
import { quads, type SsdShape, sizes, ssdShape, tileConstants } from './ssd-shape.js';
import { tuning } from './tuning.js';

/** What the forward pass has, recomputed, and the gradients of the states; states only where there are several chunks. */
interface Recomputed {
  decay: Tensor;
  scores: Tensor;
  states?: Tensor;
  dStates?: Tensor;
}

/** Sums that workgroups leave for the step sizes and the skip weights. */
interface Parts {
  rowSums: Tensor;
  skipSums: Tensor;
  edges: Tensor;
  arrivals?: Tensor;
  links?: Tensor;
}

function recompute(recorder: Recorder, args: SsdBackwardArgs, shape: SsdShape): Recomputed {
  const decay = decayOf(recorder, args, shape);
  const scores = scoresOf(recorder, args, shape);
  const { batch, nChunks, nHeads, headDim, dState } = shape;
  if (nChunks === 1) return { decay, scores };
  const { x, B, C, dOut, lengths } = args;
  const extents = [batch, nChunks, nHeads, headDim, dState];
  const states = args.checkpoints ?? recorder.alloc(extents);
  if (!args.checkpoints) fillStates(recorder, shape, decay, states, { x, V: B, lengths, reverse: false });
  const dStates = recorder.alloc(extents);
  fillStates(recorder, shape, decay, dStates, { x: dOut, V: C, lengths, reverse: true });
  return { decay, scores, states, dStates };
}

function inputGradient(
  recorder: Recorder,
  args: SsdBackwardArgs,
  shape: SsdShape,
  { decay, scores, dStates }: Recomputed,
  { rowSums, skipSums }: Parts,
): void {
  const { x, B, dOut, skip, lengths, dX } = args;
  const { batch, length, nChunks, nHeads, nGroups, headsPerGroup, rowTiles, tokenTiles } = shape;
  const total = batch * nChunks * nHeads * rowTiles * tokenTiles;
  recorder.dispatch({
    kernel: 'ssd-dx',
    constants: {
      CHUNK: shape.chunk,
      HAS_LENGTHS: lengths !== undefined,
      HAS_SKIP: skip !== undefined,
      HAS_STATES: dStates !== undefined,
      ...sizes(recorder, shape).constants,
      ...quads(shape, x, B, dOut, dX, dStates),
      ...tileConstants(recorder, shape, shape.tokenTile, shape.rowTile),
    },
    bindings: { x, B, dOut, skip, lengths, decay, scores, dStates, dX, rowSums, skipSums },
    params: {
      ...sizes(recorder, shape).params,
      total,
      length,
      nChunks,
      nHeads,
      headsPerGroup,
      nGroups,
      columnTiles: rowTiles,
    },
    workgroups: total,
  });
}

/** dScores [parts, batch, nChunks, nGroups, chunk, chunk]. */
function scoreGradient(
  recorder: Recorder,
  args: SsdBackwardArgs,
  shape: SsdShape,
  { decay, scores }: Recomputed,
  edges: Tensor,
): { dScores: Tensor; parts: number } {
  const { x, dOut, lengths } = args;
  const { batch, length, nChunks, nHeads, nGroups, headsPerGroup, chunk, pairs, tokenTile } = shape;
  const cells = batch * nChunks * nGroups;
  const wanted = Math.min(headsPerGroup, Math.ceil(tuning.ssd.scoreWorkgroups / (cells * pairs)));
  const heads = Math.ceil(headsPerGroup / wanted);
  const parts = Math.ceil(headsPerGroup / heads);
  const dScores = recorder.alloc([parts, batch, nChunks, nGroups, chunk, chunk]);
  recorder.dispatch({
    kernel: 'ssd-dscores',
    constants: {
      CHUNK: chunk,
      HEADS: heads,
      HAS_LENGTHS: lengths !== undefined,
      ...sizes(recorder, shape).constants,
      ...quads(shape, x, dOut),
      ...tileConstants(recorder, shape, tokenTile, tokenTile),
    },
    bindings: { x, dOut, lengths, decay, scores, dScores, edges },
    params: {
      headDim: shape.headDim,
      total: cells * pairs * parts,
      length,
      nChunks,
      nHeads,
      headsPerGroup,
      nGroups,
      pairs,
      parts,
      cells,
    },
    workgroups: cells * pairs * parts,
  });
  return { dScores, parts };
}

function tokenGradient(
  recorder: Recorder,
  args: SsdBackwardArgs,
  shape: SsdShape,
  { decay, states, dStates }: Recomputed,
  { dScores, parts }: { dScores: Tensor; parts: number },
  ofC: boolean,
  arrivals?: Tensor,
): void {
  const { x, B, C, dOut, lengths, dB, dC } = args;
  const { batch, length, nChunks, nHeads, nGroups, headsPerGroup, stateTiles, tokenTiles } = shape;
  const cells = batch * nChunks * nGroups;
  const total = cells * stateTiles * tokenTiles;
  recorder.dispatch({
    kernel: 'ssd-dbc',
    label: ofC ? 'ssd-dbc (dC)' : 'ssd-dbc (dB)',
    constants: {
      CHUNK: shape.chunk,
      OF_C: ofC,
      HAS_LENGTHS: lengths !== undefined,
      HAS_STATES: states !== undefined,
      ...sizes(recorder, shape).constants,
      ...quads(shape, ofC ? dOut : x, B, C, ofC ? dC : dB, ofC ? states : dStates),
      ...tileConstants(recorder, shape, shape.tokenTile, shape.stateTile),
    },
    bindings: {
      V: ofC ? dOut : x,
      O: ofC ? B : C,
      own: C,
      lengths,
      decay,
      dScores,
      states: ofC ? states : dStates,
      out: ofC ? dC : dB,
      arrivals: ofC ? arrivals : undefined,
    },
    params: {
      ...sizes(recorder, shape).params,
      total,
      length,
      nChunks,
      nHeads,
      headsPerGroup,
      nGroups,
      columnTiles: stateTiles,
      parts,
      cells,
    },
    workgroups: total,
  });
}

function linkGradient(
  recorder: Recorder,
  shape: SsdShape,
  { decay, states, dStates }: Recomputed,
  links: Tensor,
): void {
  const total = shape.batch * shape.nChunks * shape.nHeads;
  recorder.dispatch({
    kernel: 'ssd-link',
    constants: { CHUNK: shape.chunk },
    bindings: { decay, states, dStates, links },
    params: { headStates: shape.headDim * shape.dState, total },
    workgroups: total,
  });
}

/** dDt, and shares [batch, nChunks, 2, nHeads] of dA and dDtBias. */
function stepGradient(
  recorder: Recorder,
  args: SsdBackwardArgs,
  shape: SsdShape,
  decay: Tensor,
  parts: Parts,
  shares: Tensor,
): void {
  const { dt, aLog, dtBias, lengths, dDt } = args;
  const { batch, length, nChunks, nHeads, chunk, pairs, rowTiles, stateTiles } = shape;
  const { HAS_BIAS, HAS_LENGTHS, ZOH } = optionsOf(args);
  const total = batch * nChunks * nHeads;
  const { edges, rowSums, arrivals, links } = parts;
  recorder.dispatch({
    kernel: 'ssd-ddt',
    constants: { CHUNK: chunk, TM: shape.tokenTile, HAS_STATES: links !== undefined, HAS_BIAS, HAS_LENGTHS, ZOH },
    bindings: { dt, aLog, dtBias, lengths, decay, edges, rowSums, arrivals, links, dDt, shares },
    params: { total, length, nChunks, nHeads, pairs, rowTiles, arrivalTiles: stateTiles, ...dtBounds(args.dtLimit) },
    workgroups: total,
  });
}

export function ssdBackward(recorder: Recorder, args: SsdBackwardArgs): void {
  const shape = ssdShape(recorder, args);
  const { batch, nChunks, nHeads, chunk, pairs, tokenTile, tokenTiles, rowTiles, stateTiles } = shape;
  assertDense({ checkpoints: args.checkpoints });
  const empty = batch * nChunks === 0;
  const chunks = [batch, nChunks];
  const shares = recorder.alloc([...chunks, 2, nHeads]);
  const skipSums = recorder.alloc([...chunks, rowTiles, tokenTiles, nHeads]);
  if (!empty) {
    const known = recompute(recorder, args, shape);
    const linked = known.states !== undefined;
    const parts: Parts = {
      skipSums,
      rowSums: recorder.alloc([...chunks, nHeads, rowTiles, chunk, 2]),
      edges: recorder.alloc([...chunks, nHeads, pairs, 2, tokenTile]),
      arrivals: linked ? recorder.alloc([...chunks, nHeads, stateTiles, chunk]) : undefined,
      links: linked ? recorder.alloc([...chunks, nHeads]) : undefined,
    };
    inputGradient(recorder, args, shape, known, parts);
    const scores = scoreGradient(recorder, args, shape, known, parts.edges);
    tokenGradient(recorder, args, shape, known, scores, true, parts.arrivals);
    tokenGradient(recorder, args, shape, known, scores, false);
    if (parts.links) linkGradient(recorder, shape, known, parts.links);
    stepGradient(recorder, args, shape, known.decay, parts, shares);
    const { skipSums: _, ...scratch } = parts;
    const kept = args.checkpoints ? { decay: known.decay, scores: known.scores, dStates: known.dStates } : known;
    for (const t of [...Object.values(scratch), ...Object.values(kept), scores.dScores]) if (t) recorder.free(t);
  }
  const perHead = { columns: nHeads, total: nHeads, rowStep: 0 };
  const rows = empty ? 0 : batch * nChunks;
  const share = { ...perHead, rows, step: 2 * nHeads };
  sumParts(recorder, shares, { out: args.dALog, ...share, partsAt: 0, aLog: args.aLog }, 'ssd-sum (dA)');
  if (args.dDtBias) sumParts(recorder, shares, { out: args.dDtBias, ...share, partsAt: nHeads }, 'ssd-sum (bias)');
  if (args.dSkip) {
    const terms = rows * rowTiles * tokenTiles;
    sumParts(
      recorder,
      skipSums,
      { out: args.dSkip, ...perHead, rows: terms, step: nHeads, partsAt: 0 },
      'ssd-sum (skip)',
    );
  }
  recorder.free(shares);
  recorder.free(skipSums);
}
