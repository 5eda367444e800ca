/** Matrix products: which kernel and tile a shape gets. */
import type { MatmulArgs } from '../../kernels.js';
import { columnsOf, type DType, rowsOf, type Tensor } from '../../tensor.js';
import { matmulF16 } from './matmul-f16.js';
import type { Recorder } from './recorder.js';
import type { Constants } from './source.js';

/** Few enough rows that every weight is better read once and used at once (decode steps). */
const GEMV_ROWS = 64;
/** Workgroups that keep a large GPU busy; products with fewer tiles and a long K are split over K. */
const BUSY = 264;
/** Shortest stretch of K worth a workgroup of its own. */
const SPLIT_DEPTH = 256;
export const TILE_K = 16;

/** Whether rows begin at, and consist of, whole groups of four elements. */
export function isQuad(t: Tensor): boolean {
  return t.offset % 4 === 0 && t.stride % 4 === 0 && columnsOf(t) % 4 === 0;
}

/** WGSL type of a tensor's elements, alone or in fours. */
export function elementType(dtype: DType, quad: boolean): string {
  return quad ? `vec4<${dtype}>` : dtype;
}

/** Constants of include/matmul-epilogue.wgsl. `quad` writes four neighbours at once. */
export function epilogueTypes({ out, residual }: MatmulArgs, quad: boolean): Constants {
  return {
    OUT: elementType(out.dtype, quad),
    RESIDUAL: elementType(residual?.dtype ?? out.dtype, quad),
    VEC_OUT: quad,
  };
}

/** `params.flags` of include/matmul-epilogue.wgsl. They are no constants because every variant costs a compilation. */
export function epilogueFlags({ bias, activation, residual, accumulate }: MatmulArgs): number {
  return (bias ? 1 : 0) | (activation === 'silu' ? 2 : 0) | (residual ? 4 : 0) | (accumulate ? 8 : 0);
}

export function mayWriteQuads({ out, residual }: MatmulArgs): boolean {
  return isQuad(out) && (residual === undefined || (isQuad(residual) && residual.dtype === out.dtype));
}

export function matmul(recorder: Recorder, args: MatmulArgs): void {
  const { out, a, transposeA = false, transposeB = false } = args;
  const [M, N] = [rowsOf(out), columnsOf(out)];
  const K = transposeA ? rowsOf(a) : columnsOf(a);
  checkShapes(args, M, N, K);
  if (M === 0 || N === 0) return;
  if (K > 0 && M <= GEMV_ROWS && transposeB && !transposeA) gemv(recorder, args, M, N, K);
  else if (args.precision === 'f16' && recorder.gpu.subgroupMatrix && matmulF16(recorder, args, M, N, K)) return;
  else tiled(recorder, args, M, N, K);
}

function checkShapes({ a, b, transposeA, transposeB, bias, residual }: MatmulArgs, M: number, N: number, K: number) {
  const wantA = transposeA ? [K, M] : [M, K];
  const wantB = transposeB ? [N, K] : [K, N];
  if (rowsOf(a) !== wantA[0] || columnsOf(a) !== wantA[1] || rowsOf(b) !== wantB[0] || columnsOf(b) !== wantB[1]) {
    throw new RangeError(`matmul of [${a.shape}] and [${b.shape}] into [${M},${N}]`);
  }
  if (bias && columnsOf(bias) !== N) throw new RangeError(`bias [${bias.shape}] for ${N} columns`);
  if (residual && (rowsOf(residual) !== M || columnsOf(residual) !== N)) {
    throw new RangeError(`residual [${residual.shape}] for [${M},${N}]`);
  }
}

/** How many ways to share K: 1 unless the tiles alone leave a large GPU idle. */
export function splitsFor(tiles: number, K: number): number {
  if (tiles >= BUSY || K < 2 * SPLIT_DEPTH) return 1;
  return Math.max(1, Math.min(Math.ceil(BUSY / tiles), Math.floor(K / SPLIT_DEPTH), 64));
}

function tiled(recorder: Recorder, args: MatmulArgs, M: number, N: number, K: number): void {
  const tiles = Math.ceil(M / 128) * Math.ceil(N / 128);
  const large = M > 64 && N > 64 && tiles * splitsFor(tiles, K) >= BUSY / 4;
  launchTiled(recorder, args, { M, N, K }, large ? 128 : 64, TILE_K);
}

/** Launches the f32 product with a tile of `tile` × `tile` × `depth`; 64 or 128, and a depth of 4 to 32. */
export function launchTiled(
  recorder: Recorder,
  args: MatmulArgs,
  { M, N, K }: { M: number; N: number; K: number },
  tile: 64 | 128,
  tileK: number,
): void {
  const { a, b, transposeA = false, transposeB = false } = args;
  const splits = splitsFor(Math.ceil(M / tile) * Math.ceil(N / tile), K);
  // A buffer that is read and written through one binding has one element type.
  const quadIn = [a, b].every((t) => isQuad(t) && t.storage !== args.out.storage);
  const constants: Constants = {
    TILE_M: tile,
    TILE_N: tile,
    TILE_K: tileK,
    STRIPS_M: tile / 64,
    STRIPS_N: tile / 64,
    TRANS_A: transposeA,
    TRANS_B: transposeB,
    VEC_IN: quadIn,
    A: elementType(a.dtype, quadIn),
    B: elementType(b.dtype, quadIn),
  };
  const depth = Math.ceil(K / splits / tileK) * tileK;
  launchProduct(recorder, args, { kernel: 'matmul', constants, tile: [tile, tile], splits, depth, M, N, K });
}

export interface Product {
  kernel: string;
  constants: Constants;
  tile: readonly [number, number];
  splits: number;
  /** Elements of K a split covers. */
  depth: number;
  M: number;
  N: number;
  K: number;
}

/** Launches a tiled kernel, and the second pass where K is split. */
export function launchProduct(recorder: Recorder, args: MatmulArgs, product: Product): void {
  const { out, a, b, bias, residual } = args;
  const { kernel, constants, tile, splits, depth, M, N, K } = product;
  const grid = [Math.ceil(N / tile[1]), Math.ceil(M / tile[0])] as const;
  const label = `${kernel} ${M}×${N}×${K}`;
  const split = splits > 1;
  const quads = split ? N % 4 === 0 : mayWriteQuads(args) && !needsScalars(args);
  if (!split) {
    recorder.dispatch({
      kernel,
      label,
      constants: { ...constants, ...epilogueTypes(args, quads), SPLIT: false },
      bindings: { out, a, b, bias, residual },
      params: { M, N, K, depth, flags: epilogueFlags(args) },
      workgroups: [grid[0], grid[1], 1],
    });
    return;
  }
  const partial = recorder.alloc([splits, M, N]);
  recorder.dispatch({
    kernel,
    label,
    constants: {
      ...constants,
      SPLIT: true,
      VEC_OUT: quads,
      OUT: elementType('f32', quads),
      RESIDUAL: elementType('f32', quads),
    },
    bindings: { out: partial, a, b, bias: undefined, residual: undefined },
    params: { M, N, K, depth, flags: 0 },
    workgroups: [grid[0], grid[1], splits],
  });
  const quadOut = mayWriteQuads(args);
  recorder.dispatch({
    kernel: 'matmul-reduce',
    constants: {
      ...epilogueTypes(args, quadOut),
      SPLIT: false,
      VEC_PARTIAL: quads,
      PARTIAL: elementType('f32', quads),
    },
    bindings: { out, partial, bias, residual },
    params: { M, N, splits, flags: epilogueFlags(args) },
    workgroups: Math.ceil((M * Math.ceil(N / 4)) / 64),
  });
  recorder.free(partial);
}

/** Whether the buffer that is written is also bound element by element: then all of it must be. */
function needsScalars({ out, a, b, bias }: MatmulArgs): boolean {
  return [a, b, bias].some((t) => t?.storage === out.storage);
}

/** Rows and columns a group makes, and threads of a group; see matmul-gemv.wgsl. */
export interface GemvShape {
  rows: number;
  cols: number;
  lanes: number;
}

function gemv(recorder: Recorder, args: MatmulArgs, M: number, N: number, K: number): void {
  const rows = M >= 5 ? 8 : M >= 3 ? 4 : M;
  const cols = M > 8 ? 4 : rows >= 4 ? 2 : 1;
  // A group reads four elements a lane and step; short rows need few lanes.
  const lanes = K >= 128 ? 32 : K >= 32 ? 8 : 4;
  launchGemv(recorder, args, { M, N, K }, { rows, cols, lanes });
}

/** Launches the product of few rows with a given shape of its groups. */
export function launchGemv(
  recorder: Recorder,
  args: MatmulArgs,
  { M, N, K }: { M: number; N: number; K: number },
  { rows, cols, lanes }: GemvShape,
): void {
  const { out, a, b, bias, residual } = args;
  const vec = isQuad(a) && isQuad(b) && a.storage !== out.storage && b.storage !== out.storage;
  const perWorkgroup = (128 / lanes) * cols;
  recorder.dispatch({
    kernel: 'matmul-gemv',
    label: `matmul-gemv ${M}×${N}×${K}`,
    constants: {
      ROWS: rows,
      COLS: cols,
      LANES: lanes,
      VEC: vec,
      A: elementType(a.dtype, vec),
      B: elementType(b.dtype, vec),
      ...epilogueTypes(args, false),
    },
    bindings: { out, a, b, bias, residual },
    params: { M, N, K, flags: epilogueFlags(args) },
    workgroups: [Math.ceil(N / perWorkgroup), Math.ceil(M / rows), 1],
  });
}
