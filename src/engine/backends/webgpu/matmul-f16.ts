/** Matrix products on the matrix units, with operands rounded to f16. */
import type { MatmulArgs } from '../../kernels.js';
import { columnsOf, type Tensor } from '../../tensor.js';
import { isQuad, launchProduct, splitsFor } from './matmul.js';
import type { Recorder } from './recorder.js';
import type { Constants } from './source.js';

/** Shape of the work of one workgroup; see matmul-f16.wgsl. */
export interface F16Tile {
  /** Rows, columns and depth of the tile. */
  tile: readonly [number, number, number];
  /** Subgroups along rows and columns. */
  subgroups: readonly [number, number];
  stages: 1 | 2;
  /** vec4 of padding a row of a tile. */
  pad: number;
  /** Whether whole tiles without an epilogue are stored straight from the matrix units. */
  direct: boolean;
  /** Whether tiles are kept as single halves instead of eight to a vec4<u32>. */
  halves?: boolean;
}

/** The tile for large products, and the one for products that would otherwise have too few tiles. */
export const LARGE: F16Tile = { tile: [128, 128, 32], subgroups: [2, 4], stages: 1, pad: 1, direct: true };
export const SMALL: F16Tile = { tile: [64, 64, 32], subgroups: [2, 2], stages: 2, pad: 1, direct: true };

/** Threads of a subgroup. Adapters with another number are not offered this kernel. */
const LANES = 32;
/** Tiles below which the small tile spreads the work better over a large GPU. */
const FEW_TILES = 132;

/** How eight neighbours of an operand are read: MODE_… of matmul-f16.wgsl. */
function reading(t: Tensor): { halves: boolean; quads: boolean; type: string } {
  const inEights = t.offset % 8 === 0 && t.stride % 8 === 0 && columnsOf(t) % 8 === 0;
  if (t.dtype === 'f16' && inEights) return { halves: true, quads: false, type: 'vec4<u32>' };
  if (t.dtype === 'f32' && isQuad(t)) return { halves: false, quads: true, type: 'vec4<f32>' };
  return { halves: false, quads: false, type: t.dtype };
}

/** Constants of matmul-f16.wgsl. */
export function f16Constants(args: MatmulArgs, shape: F16Tile, emulated: boolean): Constants {
  const [tileM, tileN, tileK] = shape.tile;
  const [subM, subN] = shape.subgroups;
  const threads = subM * subN * LANES;
  const [a, b] = [reading(args.a), reading(args.b)];
  return {
    TILE_M: tileM,
    TILE_N: tileN,
    TILE_K: tileK,
    SUB_M: subM,
    SUB_N: subN,
    FRAG_M: tileM / subM / 16,
    FRAG_N: tileN / subN / 16,
    STEPS_K: tileK / 16,
    CHUNKS_A: (tileM * tileK) / 8 / threads,
    CHUNKS_B: (tileN * tileK) / 8 / threads,
    STAGES: shape.stages,
    SINGLE_STAGE: shape.stages === 1,
    PAD: shape.pad,
    HALVES: shape.halves === true,
    LANES,
    EMULATED: emulated,
    DIRECT: shape.direct && args.out.dtype === 'f32',
    TRANS_A: args.transposeA === true,
    TRANS_B: args.transposeB === true,
    MODE_A_HALVES: a.halves,
    MODE_A_QUADS: a.quads,
    MODE_B_HALVES: b.halves,
    MODE_B_QUADS: b.quads,
    A: a.type,
    B: b.type,
  };
}

/** Launches a product with a given tile. */
export function launchF16(
  recorder: Recorder,
  args: MatmulArgs,
  dims: { M: number; N: number; K: number },
  shape: F16Tile,
  emulated = false,
  splits?: number,
): void {
  const { M, N, K } = dims;
  const [tileM, tileN, tileK] = shape.tile;
  const ways = splits ?? splitsFor(Math.ceil(M / tileM) * Math.ceil(N / tileN), K);
  launchProduct(recorder, args, {
    kernel: 'matmul-f16',
    constants: f16Constants(args, shape, emulated),
    tile: [tileM, tileN],
    splits: ways,
    depth: Math.ceil(K / ways / tileK) * tileK,
    M,
    N,
    K,
  });
}

/** The product on the matrix units; false where the f32 kernel must do it: operands that share a buffer with the result. */
export function matmulF16(recorder: Recorder, args: MatmulArgs, M: number, N: number, K: number): boolean {
  const { out, a, b, bias } = args;
  if ([a, b, bias].some((t) => t?.storage === out.storage) || K === 0) return false;
  const large = Math.ceil(M / LARGE.tile[0]) * Math.ceil(N / LARGE.tile[1]);
  const isLarge = large * splitsFor(large, K) >= FEW_TILES && M > 64 && N > 64;
  launchF16(recorder, args, { M, N, K }, isLarge ? LARGE : SMALL);
  return true;
}
