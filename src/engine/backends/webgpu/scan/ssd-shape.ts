/** How SSD lies on the GPU: chunks of the sequence, tiles of the matrix products. */
import type { SsdArgs } from '../../../kernels.js';
import { columnsOf, type Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';
import type { Constants } from '../source.js';
import { tuning } from './tuning.js';

export interface SsdShape {
  batch: number;
  length: number;
  nHeads: number;
  nGroups: number;
  headsPerGroup: number;
  headDim: number;
  dState: number;
  /** Tokens of a chunk, a multiple of `tokenTile`. */
  chunk: number;
  nChunks: number;
  /** Sides of tiles over tokens, headDim and dState, and how many cover each. */
  tokenTile: number;
  tokenTiles: number;
  rowTile: number;
  rowTiles: number;
  stateTile: number;
  stateTiles: number;
  /** Tiles of a chunk's scores on and below the diagonal. */
  pairs: number;
  /** Whether products run on subgroup matrices in f16. */
  matrix: boolean;
  /** Whether plain loops play the subgroup matrices. */
  emulated: boolean;
  /** Terms of a matrix product staged at a time. */
  slab: number;
}

const upTo = (value: number, multiple: number) => Math.ceil(value / multiple) * multiple;

/** The side of equal tiles that cover `extent`, a multiple of 16. */
function tileSide(extent: number, most: number): number {
  return upTo(extent / Math.max(1, Math.ceil(extent / most)), 16);
}

/** Longest side of a tile: two of them, a slab and a chunk's decay must fit in workgroup memory (ssd-dscores has most). */
function longestSide({ gpu }: Recorder): number {
  if (gpu.software) return tuning.ssd.software.tile;
  return gpu.limits.maxComputeWorkgroupStorageSize < 40 * 1024 ? Math.min(32, tuning.ssd.tile) : tuning.ssd.tile;
}

/** One chunk for a short sequence, as small as tiles allow. */
function chunkFor(recorder: Recorder, length: number): { chunk: number; tokenTile: number } {
  const tile = longestSide(recorder);
  const { chunk } = recorder.gpu.software ? tuning.ssd.software : tuning.ssd;
  if (length >= chunk) return { chunk, tokenTile: Math.min(chunk, tile) };
  const tiles = Math.max(1, Math.ceil(length / tile));
  const side = upTo(length / tiles, 16);
  return { chunk: side * tiles, tokenTile: side };
}

function slabFor({ gpu }: Recorder, matrix: boolean): number {
  if (matrix) return gpu.software ? 16 : tuning.ssd.matrixSlab;
  return gpu.software ? tuning.ssd.software.slab : tuning.ssd.slab;
}

export function ssdShape(
  recorder: Recorder,
  args: { x: Tensor; B: Tensor; nHeads: number; nGroups: number; precision?: SsdArgs['precision'] },
): SsdShape {
  const { gpu } = recorder;
  const [batch, length, dInner] = args.x.shape;
  const { nHeads, nGroups } = args;
  const headDim = dInner / nHeads;
  const dState = columnsOf(args.B) / nGroups;
  const { chunk, tokenTile } = chunkFor(recorder, Math.max(1, length));
  const most = longestSide(recorder);
  const rowTile = tileSide(headDim, most);
  const stateTile = tileSide(dState, most);
  const tokenTiles = chunk / tokenTile;
  const units = gpu.subgroupMatrix && gpu.subgroupSize[0] === 32 && gpu.subgroupSize[1] === 32;
  const matrix = args.precision === 'f16' && (units || tuning.ssd.emulateMatrix);
  return {
    batch,
    length,
    nHeads,
    nGroups,
    headsPerGroup: nHeads / nGroups,
    headDim,
    dState,
    chunk,
    nChunks: Math.ceil(length / chunk),
    tokenTile,
    tokenTiles,
    rowTile,
    rowTiles: Math.ceil(headDim / rowTile),
    stateTile,
    stateTiles: Math.ceil(dState / stateTile),
    slab: slabFor(recorder, matrix),
    pairs: (tokenTiles * (tokenTiles + 1)) / 2,
    matrix,
    emulated: matrix && !units,
  };
}

/**
 * headDim and dState as a kernel wants them: constants on a GPU; on a software adapter, which compiles for many seconds
 * what it runs for a few milliseconds, params, so that a kernel is compiled for all sizes at once.
 */
export function sizes(
  recorder: Recorder,
  { headDim, dState }: SsdShape,
): { constants: Constants; params: { headDim: number; dState: number } } {
  const dynamic = recorder.gpu.software;
  const constants: Constants = dynamic ? { DYNAMIC: true } : { DYNAMIC: false, HEAD_DIM: headDim, STATES: dState };
  return { constants, params: { headDim, dState } };
}

/** How a kernel reads the given tensors, which are sliced by heads and groups: in quads where everything is in fours. */
export function quads({ headDim, dState }: SsdShape, ...tensors: (Tensor | undefined)[]): Constants {
  const fours = (n: number) => n % 4 === 0;
  const whole = fours(headDim) && fours(dState) && tensors.every((t) => !t || (fours(t.offset) && fours(t.stride)));
  return { VECTOR: whole, CELL: whole ? 'vec4f' : 'f32' };
}

/** Constants of include/ssd-product for a tile of m × n. */
export function tileConstants(recorder: Recorder, shape: SsdShape, m: number, n: number): Constants {
  const { matrix, emulated } = shape;
  // Quads an invocation has of a slab of each operand, and of a strip.
  const shares = (threads: number, slab: number, strips: number) => ({
    LOADS_A: Math.ceil((slab * m) / 4 / threads),
    LOADS_B: Math.ceil((slab * n) / 4 / threads),
    STRIPS: strips,
    QUADS: Math.ceil((m * n) / 4 / strips / threads),
  });
  if (!matrix) {
    // ssd-dscores wants an invocation for each column of its square tiles.
    const MV = m > 48 ? 2 : 1;
    const NV = n > 48 ? 2 : 1;
    const [TY, TX] = [m / (4 * MV), n / (4 * NV)];
    return {
      ...{ TM: m, TN: n, TK: shape.slab, MV, NV, TY, TX },
      ...shares(TX * TY, shape.slab, MV),
      MATRIX: false,
      EMULATED: false,
    };
  }
  // The slabs of halves are as deep as fits.
  const spare = recorder.gpu.limits.maxComputeWorkgroupStorageSize - 32 * shape.chunk;
  const bytes = (depth: number) => {
    const side = (extent: number) => Math.max(depth * (2 * extent + 16), extent * (2 * depth + 16));
    return side(m) + side(n);
  };
  let slab = shape.slab;
  while (slab > 16 && bytes(slab) > spare) slab /= 2;
  const [rows, columns] = [m / 16, n / 16];
  const SY = emulated ? 1 : rows % 2 === 0 ? 2 : rows;
  const SX = columns % 2 === 0 ? 2 : 1;
  return {
    ...{ TM: m, TN: n, TK: slab, SX, SY, MB: rows / SY, NB: columns / SX },
    ...shares(32 * SX * SY, slab, rows / SY),
    MATRIX: true,
    EMULATED: emulated,
  };
}

/** States that enter the chunks, or nothing where one chunk holds the sequence: its gradient needs none. */
export function ssdCheckpointShape(
  recorder: Recorder,
  dims: { batch: number; length: number; dInner: number; dState: number; nHeads: number },
): readonly number[] | undefined {
  const { chunk } = chunkFor(recorder, Math.max(1, dims.length));
  const nChunks = Math.ceil(dims.length / chunk);
  if (nChunks <= 1) return undefined;
  return [dims.batch, nChunks, dims.nHeads, dims.dInner / dims.nHeads, dims.dState];
}
