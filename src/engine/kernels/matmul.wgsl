// out[M,N] = act(op(a)·op(b) + bias) + residual (+ out), all arithmetic in f32.
//
// A workgroup of 16 × 16 threads makes a tile of TILE_M × TILE_N; a thread makes STRIPS_M × STRIPS_N blocks of 4 × 4,
// 64 rows or columns apart, so that the threads of a row read neighbouring words. Both operands pass through workgroup
// memory K-major, TILE_K deep, while the next tile is already on its way into registers.
// a is [M,K], with TRANS_A [K,M]; b is [K,N], with TRANS_B [N,K]. VEC_IN: rows of both start at and consist of whole vec4.
// SPLIT: workgroup z covers K from z·depth to (z+1)·depth and writes its sum to partial z; matmul-reduce.wgsl finishes.
//#include matmul-epilogue
struct Params {
  M: u32,
  N: u32,
  K: u32,
  depth: u32,
  aOffset: u32,
  aStride: u32,
  bOffset: u32,
  bStride: u32,
  outOffset: u32,
  outStride: u32,
  residualOffset: u32,
  residualStride: u32,
  biasOffset: u32,
  flags: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<OUT>;
@group(0) @binding(1) var<storage, read> a: array<A>;
@group(0) @binding(2) var<storage, read> b: array<B>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<RESIDUAL>;
@group(0) @binding(5) var<uniform> params: Params;

const QUADS_M = TILE_M / 4u;
const QUADS_N = TILE_N / 4u;
const QUADS_K = TILE_K / 4u;
// One vec4 of padding moves the rows of a transposed store to other banks.
const PITCH_A = QUADS_M + 1u;
const PITCH_B = QUADS_N + 1u;
const BLOCKS_A = QUADS_M * QUADS_K;
const BLOCKS_B = QUADS_N * QUADS_K;

var<workgroup> tileA: array<vec4<f32>, TILE_K * PITCH_A>;
var<workgroup> tileB: array<vec4<f32>, TILE_K * PITCH_B>;

// Four neighbours of a stored row, zero outside rows × columns. Without branches, so that all loads are in flight together.
fn loadA(row: u32, column: u32, rows: u32, columns: u32) -> vec4<f32> {
  let inside = row < rows && column < columns;
  let at = params.aOffset + select(0u, row * params.aStride + column, inside);
//#if VEC_IN
  return select(vec4<f32>(), vec4<f32>(a[at / 4u]), inside);
//#else
  // Neighbours beyond the end fold onto the first, whose value they do not use.
  let y = select(0u, 1u, column + 1u < columns);
  let z = select(0u, 2u, column + 2u < columns);
  let w = select(0u, 3u, column + 3u < columns);
  let value = vec4<f32>(f32(a[at]), f32(a[at + y]), f32(a[at + z]), f32(a[at + w]));
  return select(vec4<f32>(), value, vec4<bool>(inside, inside && y != 0u, inside && z != 0u, inside && w != 0u));
//#end
}

fn loadB(row: u32, column: u32, rows: u32, columns: u32) -> vec4<f32> {
  let inside = row < rows && column < columns;
  let at = params.bOffset + select(0u, row * params.bStride + column, inside);
//#if VEC_IN
  return select(vec4<f32>(), vec4<f32>(b[at / 4u]), inside);
//#else
  // Neighbours beyond the end fold onto the first, whose value they do not use.
  let y = select(0u, 1u, column + 1u < columns);
  let z = select(0u, 2u, column + 2u < columns);
  let w = select(0u, 3u, column + 3u < columns);
  let value = vec4<f32>(f32(b[at]), f32(b[at + y]), f32(b[at + z]), f32(b[at + w]));
  return select(vec4<f32>(), value, vec4<bool>(inside, inside && y != 0u, inside && z != 0u, inside && w != 0u));
//#end
}

// The 4 × 4 block number `block` of a tile that starts at row m0 and depth k0: column j holds depth k + j, over rows.
fn blockA(block: u32, m0: u32, k0: u32, end: u32) -> mat4x4<f32> {
//#if TRANS_A
  let m = m0 + (block % QUADS_M) * 4u;
  let k = k0 + (block / QUADS_M) * 4u;
  return mat4x4<f32>(
    loadA(k, m, end, params.M), loadA(k + 1u, m, end, params.M),
    loadA(k + 2u, m, end, params.M), loadA(k + 3u, m, end, params.M));
//#else
  let m = m0 + (block / QUADS_K) * 4u;
  let k = k0 + (block % QUADS_K) * 4u;
  return transpose(mat4x4<f32>(
    loadA(m, k, params.M, end), loadA(m + 1u, k, params.M, end),
    loadA(m + 2u, k, params.M, end), loadA(m + 3u, k, params.M, end)));
//#end
}

fn blockB(block: u32, n0: u32, k0: u32, end: u32) -> mat4x4<f32> {
//#if TRANS_B
  let n = n0 + (block / QUADS_K) * 4u;
  let k = k0 + (block % QUADS_K) * 4u;
  return transpose(mat4x4<f32>(
    loadB(n, k, params.N, end), loadB(n + 1u, k, params.N, end),
    loadB(n + 2u, k, params.N, end), loadB(n + 3u, k, params.N, end)));
//#else
  let n = n0 + (block % QUADS_N) * 4u;
  let k = k0 + (block / QUADS_N) * 4u;
  return mat4x4<f32>(
    loadB(k, n, end, params.N), loadB(k + 1u, n, end, params.N),
    loadB(k + 2u, n, end, params.N), loadB(k + 3u, n, end, params.N));
//#end
}

// Where block `block` of A lies in its tile.
fn placeA(block: u32) -> u32 {
//#if TRANS_A
  return (block / QUADS_M) * 4u * PITCH_A + block % QUADS_M;
//#else
  return (block % QUADS_K) * 4u * PITCH_A + block / QUADS_K;
//#end
}

fn placeB(block: u32) -> u32 {
//#if TRANS_B
  return (block % QUADS_K) * 4u * PITCH_B + block / QUADS_K;
//#else
  return (block / QUADS_N) * 4u * PITCH_B + block % QUADS_N;
//#end
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let m0 = workgroup.y * TILE_M;
  let n0 = workgroup.x * TILE_N;
  var k0 = 0u;
  var end = params.K;
//#if SPLIT
  k0 = workgroup.z * params.depth;
  end = min(params.K, k0 + params.depth);
//#end
  let tx = thread % 16u;
  let ty = thread / 16u;
  // The first threads fetch A, the last fetch B, so that small tiles keep different threads busy.
  let fetchA = thread;
  let fetchB = 255u - thread;

//#repeat s 0 STRIPS_M
//#repeat r 0 4
//#repeat j 0 STRIPS_N
  var sum$s$r$j = vec4<f32>(0.0);
//#end
//#end
//#end
  // A turn fetches tile k0 into registers, multiplies the tile before it, then puts the registers in its place.
  for (var ready = false; ; k0 += TILE_K) {
    var nextA: mat4x4<f32>;
    var nextB: mat4x4<f32>;
    let more = k0 < end;
    if (more && fetchA < BLOCKS_A) {
      nextA = blockA(fetchA, m0, k0, end);
    }
    if (more && fetchB < BLOCKS_B) {
      nextB = blockB(fetchB, n0, k0, end);
    }
    if (ready) {
      for (var k = 0u; k < TILE_K; k++) {
//#repeat j 0 STRIPS_N
        let b$j = tileB[k * PITCH_B + tx + $j * 16u];
//#end
//#repeat s 0 STRIPS_M
        let a$s = tileA[k * PITCH_A + ty + $s * 16u];
//#end
//#repeat s 0 STRIPS_M
//#repeat r 0 4
//#repeat j 0 STRIPS_N
        sum$s$r$j = fma(vec4<f32>(a$s[$r]), b$j, sum$s$r$j);
//#end
//#end
//#end
      }
    }
    if (!more) {
      break;
    }
    workgroupBarrier();
    if (fetchA < BLOCKS_A) {
      let place = placeA(fetchA);
      tileA[place] = nextA[0];
      tileA[place + PITCH_A] = nextA[1];
      tileA[place + 2u * PITCH_A] = nextA[2];
      tileA[place + 3u * PITCH_A] = nextA[3];
    }
    if (fetchB < BLOCKS_B) {
      let place = placeB(fetchB);
      tileB[place] = nextB[0];
      tileB[place + PITCH_B] = nextB[1];
      tileB[place + 2u * PITCH_B] = nextB[2];
      tileB[place + 3u * PITCH_B] = nextB[3];
    }
    workgroupBarrier();
    ready = true;
  }
  // A loop over an array, not unrolled text: what is written once need not be fast, but it is long to compile.
  var sums: array<vec4<f32>, 4u * STRIPS_M * STRIPS_N>;
//#repeat s 0 STRIPS_M
//#repeat r 0 4
//#repeat j 0 STRIPS_N
  sums[($s * 4u + $r) * STRIPS_N + $j] = sum$s$r$j;
//#end
//#end
//#end
  for (var i = 0u; i < 4u * STRIPS_M * STRIPS_N; i++) {
    let row = i / STRIPS_N;
    store(m0 + row / 4u * 64u + ty * 4u + row % 4u, n0 + i % STRIPS_N * 64u + tx * 4u, sums[i], workgroup.z);
  }
}
