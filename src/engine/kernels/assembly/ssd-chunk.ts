/**
 * The chunked form of SSD (Dao & Gu 2024, section 6) for whole sequences, on the tiles of the matrix product. With
 * a[t] = exp(dt·A), u[t] = factor·x[t], e[t] = a[0]…a[t] and D[t,s] = a[s+1]…a[t] over the tokens of one chunk:
 *   y[t] = e[t]·C[t]·S + Σ_{s ≤ t} (C[t]·B[s])·D[t,s]·u[s];   S ← e[last]·S + Σ_s D[last,s]·B[s]·u[s].
 * Per token and head 4·N·P + Q·P operations at the speed of a matrix product, against 5·N·P of the recurrence in `ssd`.
 * The decays are running products, as in the recurrence: no exponential of a difference of sums, nothing to cancel.
 *
 * Arguments as `ssd`, then headsPerUnit. Unit = (sequence, block of heads of one group), which share C·Bᵀ.
 * The state lies transposed in the scratch memory, [P/8][N][8], as the panels that the products read.
 */
import { argFloat, argInt, argPtr, madd, realLength, zeroFloats } from './common';
import { A_STEP, B_STEP, MR, NR, multiplyPanels, packInput, packTransposed } from './gemm';
import { decayOf, decayRate, inputFactor, stepSize } from './ssd';

/** Tokens of a chunk, a multiple of MR and of NR. */
export const CHUNK: i32 = 40;
const CHUNK_PANELS: i32 = CHUNK / NR;
const CHUNK_TILES: i32 = CHUNK / MR;
const CHUNK_BYTES: usize = <usize>CHUNK * 4;

export function ssdChunked(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const length = argInt(cmd, 15);
  const H = argInt(cmd, 16);
  const P = argInt(cmd, 18);
  const N = argInt(cmd, 19);
  const heads = argInt(cmd, 23);
  const blocks = H / heads;
  const perGroup = H / argInt(cmd, 17);
  const columnPanels = (P + NR - 1) / NR;
  const stateTiles = (N + MR - 1) / MR;
  // Scratch: decay, factor, e, D (a row each of CHUNK), the products C·Bᵀ [CHUNK][CHUNK], one tile, e[last] MR times
  // (padded to 8 floats), then the panels:
  // C [CHUNK/MR][N][MR], B over tokens [N/MR][CHUNK][MR], B over states [CHUNK/NR][N][NR], D∘C·Bᵀ [CHUNK/MR][CHUNK][MR],
  // u and u·D[last] [P/NR][CHUNK][NR], the states of the heads [heads][P/NR][N rounded up to MR][NR].
  const products = scratch + CHUNK_BYTES * 4;
  const tile = products + CHUNK_BYTES * <usize>CHUNK;
  const totals = tile + <usize>MR * B_STEP;
  const panelsC = totals + 32;
  const panelsB = panelsC + <usize>CHUNK_TILES * <usize>N * A_STEP;
  const columnsB = panelsB + <usize>stateTiles * <usize>CHUNK * A_STEP;
  const panelsM = columnsB + <usize>CHUNK_PANELS * <usize>N * B_STEP;
  const inputs = panelsM + <usize>CHUNK_TILES * <usize>CHUNK * A_STEP;
  const decayed = inputs + <usize>columnPanels * <usize>CHUNK * B_STEP;
  const states = decayed + <usize>columnPanels * <usize>CHUNK * B_STEP;
  const panelBytes = <usize>(stateTiles * MR) * B_STEP;
  const headBytes = <usize>columnPanels * panelBytes;
  for (let unit = from; unit < to; unit++) {
    const b = unit / blocks;
    const firstHead = (unit - b * blocks) * heads;
    const groupColumn = <usize>((firstHead / perGroup) * N) << 2;
    const real = realLength(argPtr(cmd, 14), b, length);
    const state = argPtr(cmd, 13) ? argPtr(cmd, 13) + (<usize>((b * H + firstHead) * P) * <usize>N << 2) : 0;
    memory.fill(states, 0, <usize>heads * headBytes);
    for (let h = 0; state && real > 0 && h < heads; h++) {
      moveState(states + <usize>h * headBytes, panelBytes, state + (<usize>(h * P) * <usize>N << 2), P, N, true);
    }
    for (let start = 0; start < real; start += CHUNK) {
      const count = min(CHUNK, real - start);
      const row = <usize>(b * length + start);
      const B = argPtr(cmd, 7) + row * argPtr(cmd, 8) + groupColumn;
      const C = argPtr(cmd, 9) + row * argPtr(cmd, 10) + groupColumn;
      packKeys(B, argPtr(cmd, 8), C, argPtr(cmd, 10), count, N, panelsC, panelsB, columnsB, products, tile);
      for (let h = 0; h < heads; h++) {
        stepSizes(cmd, row, firstHead + h, count, scratch);
        const column = <usize>((firstHead + h) * P) << 2;
        const x = argPtr(cmd, 2) + row * argPtr(cmd, 3) + column;
        weighProducts(scratch, products, panelsM, count);
        packInputs(scratch, x, argPtr(cmd, 3), count, P, inputs, decayed);
        const own = states + <usize>h * headBytes;
        const total = load<f32>(scratch + CHUNK_BYTES * 2 + (<usize>(count - 1) << 2));
        for (let i: usize = 0; i < <usize>MR; i++) store<f32>(totals + (i << 2), total);
        const skip: f32 = argPtr(cmd, 11) ? load<f32>(argPtr(cmd, 11) + (<usize>(firstHead + h) << 2)) : 0;
        for (let j = 0; j < columnPanels; j++) {
          const panel = own + <usize>j * panelBytes;
          const u = inputs + <usize>j * <usize>CHUNK * B_STEP;
          const at = <usize>(j * NR) << 2;
          const out = argPtr(cmd, 0) + row * argPtr(cmd, 1) + column + at;
          for (let t = 0; t < count; t += MR) {
            const c = panelsC + <usize>(t / MR) * <usize>N * A_STEP;
            const m = panelsM + <usize>(t / MR) * <usize>CHUNK * A_STEP;
            multiplyPanels(c, panel, N, tile);
            addPanels(m, u, min(t + MR, count), scratch + CHUNK_BYTES * 2 + (<usize>t << 2), tile);
            const first = <usize>t;
            writeTile(
              out + first * argPtr(cmd, 1),
              argPtr(cmd, 1),
              x + first * argPtr(cmd, 3) + at,
              argPtr(cmd, 3),
              skip,
              tile,
              min(MR, count - t),
              min(NR, P - j * NR),
            );
          }
          const weighted = decayed + <usize>j * <usize>CHUNK * B_STEP;
          for (let n = 0; n < stateTiles; n++) {
            const keys = panelsB + <usize>n * <usize>CHUNK * A_STEP;
            addPanels(keys, weighted, count, totals, panel + <usize>(n * MR) * B_STEP);
          }
        }
      }
    }
    for (let h = 0; state && real > 0 && h < heads; h++) {
      moveState(states + <usize>h * headBytes, panelBytes, state + (<usize>(h * P) * <usize>N << 2), P, N, false);
    }
    for (let t = real; t < length; t++) {
      const out = argPtr(cmd, 0) + <usize>(b * length + t) * argPtr(cmd, 1);
      zeroFloats(out + (<usize>(firstHead * P) << 2), heads * P);
    }
  }
}

/** Between the state of a head [P, N] and its panels [P/NR][N][NR]. */
function moveState(panels: usize, panelBytes: usize, state: usize, P: i32, N: i32, toPanels: bool): void {
  for (let p = 0; p < P; p++, state += <usize>N << 2) {
    let at = panels + <usize>(p / NR) * panelBytes + (<usize>(p % NR) << 2);
    for (let n: usize = 0; n < <usize>N; n++, at += B_STEP) {
      if (toPanels) store<f32>(at, load<f32>(state + (n << 2)));
      else store<f32>(state + (n << 2), load<f32>(at));
    }
  }
}

/** What the heads of a group share: B and C of the chunk as panels, and products[t][s] = C[t]·B[s] for s up to t's tile. */
function packKeys(
  B: usize,
  bStride: usize,
  C: usize,
  cStride: usize,
  count: i32,
  N: i32,
  panelsC: usize,
  panelsB: usize,
  columnsB: usize,
  products: usize,
  tile: usize,
): void {
  for (let n = 0; n < N; n += MR) {
    packInput(panelsB + <usize>(n / MR) * <usize>CHUNK * A_STEP, B + (<usize>n << 2), bStride, true, min(MR, N - n), count);
  }
  for (let s = 0; s < count; s += NR) {
    const panel = columnsB + <usize>(s / NR) * <usize>N * B_STEP;
    packTransposed(panel, B + <usize>s * bStride, bStride, N, min(NR, count - s));
  }
  for (let t = 0; t < count; t += MR) {
    const panel = panelsC + <usize>(t / MR) * <usize>N * A_STEP;
    packInput(panel, C + <usize>t * cStride, cStride, false, min(MR, count - t), N);
    for (let s = 0; s < min(t + MR, count); s += NR) {
      multiplyPanels(panel, columnsB + <usize>(s / NR) * <usize>N * B_STEP, N, tile);
      for (let i: usize = 0; i < <usize>MR; i++) {
        const at = products + (<usize>t + i) * CHUNK_BYTES + (<usize>s << 2);
        v128.store(at, v128.load(tile + i * B_STEP));
        v128.store(at, v128.load(tile + i * B_STEP, 16), 16);
      }
    }
  }
}

/** Decay a, factor of the input and e = a[0]…a[t] of one head over the chunk. */
function stepSizes(cmd: usize, row: usize, head: i32, count: i32, scratch: usize): void {
  const at = <usize>head << 2;
  const A = decayRate(argPtr(cmd, 6) + at);
  const bias = argPtr(cmd, 12) ? v128.load32_splat(argPtr(cmd, 12) + at) : f32x4.splat(0);
  let dt = argPtr(cmd, 4) + row * argPtr(cmd, 5) + at;
  for (let t: usize = 0; t < <usize>count; t++, dt += argPtr(cmd, 5)) store<f32>(scratch + (t << 2), load<f32>(dt));
  const factors = scratch + CHUNK_BYTES;
  const running = scratch + CHUNK_BYTES * 2;
  for (let t: usize = 0; t < <usize>count; t += 4) {
    const step = stepSize(v128.load(scratch + (t << 2)), bias, argFloat(cmd, 20), argFloat(cmd, 21));
    v128.store(scratch + (t << 2), decayOf(step, A));
    v128.store(factors + (t << 2), inputFactor(step, A, argInt(cmd, 22)));
  }
  let product: f32 = 1;
  for (let t: usize = 0; t < <usize>count; t++) {
    product *= load<f32>(scratch + (t << 2));
    store<f32>(running + (t << 2), product);
  }
}

/** panelsM = D∘products, tile by tile; the row D is left at the chunk's last token. */
function weighProducts(scratch: usize, products: usize, panelsM: usize, count: i32): void {
  const D = scratch + CHUNK_BYTES * 3;
  for (let t = 0; t < count; t++) {
    const a = load<f32>(scratch + (<usize>t << 2));
    const splat = f32x4.splat(a);
    for (let s: usize = 0; s < <usize>t; s += 4) v128.store(D + (s << 2), f32x4.mul(splat, v128.load(D + (s << 2))));
    store<f32>(D + (<usize>t << 2), 1);
    const tileStart = t - (t % MR);
    let m = panelsM + <usize>(tileStart / MR) * <usize>CHUNK * A_STEP + (<usize>(t - tileStart) << 2);
    const row = products + <usize>t * CHUNK_BYTES;
    for (let s: usize = 0; s <= <usize>t; s++, m += A_STEP) {
      store<f32>(m, load<f32>(row + (s << 2)) * load<f32>(D + (s << 2)));
    }
    // The tile's later tokens, as seen from this one.
    for (let s = t + 1; s < min(tileStart + MR, count); s++, m += A_STEP) store<f32>(m, 0);
  }
  // Rows of the last tile past the chunk's end are computed and not stored; they only must not trap on old NaN.
}

/** u = factor·x and u·D[last] as panels, zeros past P. */
function packInputs(
  scratch: usize,
  x: usize,
  xStride: usize,
  count: i32,
  P: i32,
  inputs: usize,
  decayed: usize,
): void {
  const factors = scratch + CHUNK_BYTES;
  const D = scratch + CHUNK_BYTES * 3;
  for (let p = 0; p < P; p += NR) {
    const panel = <usize>(p / NR) * <usize>CHUNK * B_STEP;
    const width = min(NR, P - p);
    let from = x + (<usize>p << 2);
    for (let s: usize = 0; s < <usize>count; s++, from += xStride) {
      const at = panel + s * B_STEP;
      const factor = v128.load32_splat(factors + (s << 2));
      const later = v128.load32_splat(D + (s << 2));
      if (width == NR) {
        const u0 = f32x4.mul(factor, v128.load(from));
        const u1 = f32x4.mul(factor, v128.load(from, 16));
        v128.store(inputs + at, u0);
        v128.store(inputs + at, u1, 16);
        v128.store(decayed + at, f32x4.mul(later, u0));
        v128.store(decayed + at, f32x4.mul(later, u1), 16);
      } else {
        for (let i = 0; i < NR; i++) {
          const lane = <usize>i << 2;
          const u: f32 = i < width ? f32x4.extract_lane(factor, 0) * load<f32>(from + lane) : 0;
          store<f32>(inputs + at + lane, u);
          store<f32>(decayed + at + lane, f32x4.extract_lane(later, 0) * u);
        }
      }
    }
  }
}

/** out = tile + skip·x for rows × columns of the tile. */
function writeTile(
  out: usize,
  outStride: usize,
  x: usize,
  xStride: usize,
  skip: f32,
  tile: usize,
  rows: i32,
  columns: i32,
): void {
  const factor = f32x4.splat(skip);
  for (let i = 0; i < rows; i++, out += outStride, x += xStride, tile += B_STEP) {
    if (columns == NR) {
      v128.store(out, madd(factor, v128.load(x), v128.load(tile)));
      v128.store(out, madd(factor, v128.load(x, 16), v128.load(tile, 16)), 16);
    } else {
      for (let c: usize = 0; c < <usize>columns; c++) {
        store<f32>(out + (c << 2), load<f32>(tile + (c << 2)) + skip * load<f32>(x + (c << 2)));
      }
    }
  }
}

/** Row i of the tile [MR][NR] ← scales[i]·row, plus panel a · panel b over K. */
export function addPanels(a: usize, b: usize, K: i32, scales: usize, tile: usize): void {
  const e0 = v128.load32_splat(scales);
  let c00 = f32x4.mul(e0, v128.load(tile));
  let c01 = f32x4.mul(e0, v128.load(tile, 16));
  const e1 = v128.load32_splat(scales, 4);
  let c10 = f32x4.mul(e1, v128.load(tile, 32));
  let c11 = f32x4.mul(e1, v128.load(tile, 48));
  const e2 = v128.load32_splat(scales, 8);
  let c20 = f32x4.mul(e2, v128.load(tile, 64));
  let c21 = f32x4.mul(e2, v128.load(tile, 80));
  const e3 = v128.load32_splat(scales, 12);
  let c30 = f32x4.mul(e3, v128.load(tile, 96));
  let c31 = f32x4.mul(e3, v128.load(tile, 112));
  const e4 = v128.load32_splat(scales, 16);
  let c40 = f32x4.mul(e4, v128.load(tile, 128));
  let c41 = f32x4.mul(e4, v128.load(tile, 144));
  const end = b + <usize>K * B_STEP;
  while (b < end) {
    const x0 = v128.load(b);
    const x1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = madd(a0, x0, c00);
    c01 = madd(a0, x1, c01);
    const a1 = v128.load32_splat(a, 4);
    c10 = madd(a1, x0, c10);
    c11 = madd(a1, x1, c11);
    const a2 = v128.load32_splat(a, 8);
    c20 = madd(a2, x0, c20);
    c21 = madd(a2, x1, c21);
    const a3 = v128.load32_splat(a, 12);
    c30 = madd(a3, x0, c30);
    c31 = madd(a3, x1, c31);
    const a4 = v128.load32_splat(a, 16);
    c40 = madd(a4, x0, c40);
    c41 = madd(a4, x1, c41);
    a += A_STEP;
    b += B_STEP;
  }
  v128.store(tile, c00);
  v128.store(tile, c01, 16);
  v128.store(tile, c10, 32);
  v128.store(tile, c11, 48);
  v128.store(tile, c20, 64);
  v128.store(tile, c21, 80);
  v128.store(tile, c30, 96);
  v128.store(tile, c31, 112);
  v128.store(tile, c40, 128);
  v128.store(tile, c41, 144);
}
