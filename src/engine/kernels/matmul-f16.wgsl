// out[M,N] = act(op(a)·op(b) + bias) + residual (+ out) on the matrix units: operands rounded to f16, sums in f32.
//
// A workgroup of SUB_M × SUB_N subgroups makes a tile of TILE_M × TILE_N; a subgroup makes FRAG_M × FRAG_N matrices of
// 16 × 16. Operand tiles, TILE_K deep, lie in workgroup memory as they are stored (a transposed operand is loaded column by
// column), eight halves to a vec4<u32>, so that all copies move 16 bytes; one vec4 of padding a row keeps the eight rows a
// matrix load touches in different banks. The next tile is on its way into registers while the matrices multiply, and is
// rounded on its way out of them. With STAGES = 2 the tiles alternate between two places and one barrier a turn suffices.
//
// a is [M,K], with TRANS_A [K,M]; b is [K,N], with TRANS_B [N,K]. MODE_A and MODE_B say how eight neighbours are read:
//   0 one by one (any offset and width)   1 as two vec4<f32> (all in fours)   2 as one vec4<u32> of f16 (all in eights)
// HALVES keeps the tiles as single halves, for drivers that refuse to load matrices from wider elements.
// SPLIT as in matmul.wgsl. EMULATED replaces the matrix units by plain code, for adapters without them: the same staging,
// indices, edges and epilogue, which is what there is to test.
//#include matmul-epilogue
//#if EMULATED
//#include subgroup-matrix-emulated
//#else
//#include subgroup-matrix
//#end
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

const THREADS = SUB_M * SUB_N * LANES;
// Rows and chunks (of eight) a row of the tiles as they are stored.
//#if TRANS_A
const ROWS_A = TILE_K;
const WIDTH_A = TILE_M / 8u;
//#else
const ROWS_A = TILE_M;
const WIDTH_A = TILE_K / 8u;
//#end
//#if TRANS_B
const ROWS_B = TILE_N;
const WIDTH_B = TILE_K / 8u;
//#else
const ROWS_B = TILE_K;
const WIDTH_B = TILE_N / 8u;
//#end
const PITCH_A = WIDTH_A + PAD;
const PITCH_B = WIDTH_B + PAD;
const SIZE_A = ROWS_A * PITCH_A;
const STAGE = SIZE_A + ROWS_B * PITCH_B;
// On the way out a subgroup has room for one row of its matrices, four f32 to a vec4<u32>.
const STRIP_WIDTH = FRAG_N * 4u + PAD;
const STRIP = 16u * STRIP_WIDTH;
//#if HALVES
var<workgroup> tiles: array<f16, STAGES * STAGE * 8u>;
var<workgroup> strips: array<vec4<u32>, SUB_M * SUB_N * STRIP>;
//#else
var<workgroup> tiles: array<vec4<u32>, max(STAGES * STAGE, SUB_M * SUB_N * STRIP)>;
//#end

fn put(at: u32, chunk: vec4<u32>) {
//#if HALVES
  let low = bitcast<vec4<f16>>(chunk.xy);
  let high = bitcast<vec4<f16>>(chunk.zw);
//#repeat i 0 4
  tiles[at * 8u + $i] = low[$i];
  tiles[at * 8u + 4u + $i] = high[$i];
//#end
//#else
  tiles[at] = chunk;
//#end
}

//#if MODE_A_HALVES
alias RawA = vec4<u32>;
//#else
alias RawA = mat2x4<f32>;
//#end
//#if MODE_B_HALVES
alias RawB = vec4<u32>;
//#else
alias RawB = mat2x4<f32>;
//#end

fn pack(raw: mat2x4<f32>) -> vec4<u32> {
  return vec4<u32>(
    pack2x16float(raw[0].xy), pack2x16float(raw[0].zw), pack2x16float(raw[1].xy), pack2x16float(raw[1].zw));
}

// Eight neighbours of a stored row, zero outside rows × columns.
fn fetchA(row: u32, column: u32, rows: u32, columns: u32) -> RawA {
  let inside = row < rows && column < columns;
  let at = params.aOffset + select(0u, row * params.aStride + column, inside);
//#if MODE_A_HALVES
  return select(vec4<u32>(), a[at / 8u], inside);
//#else
//#if MODE_A_QUADS
  let second = inside && column + 4u < columns;
  let low = select(vec4<f32>(), vec4<f32>(a[at / 4u]), inside);
  return mat2x4<f32>(low, select(vec4<f32>(), vec4<f32>(a[at / 4u + select(0u, 1u, second)]), second));
//#else
  var raw: mat2x4<f32>;
//#repeat i 0 2
//#repeat j 0 4
  let in$i$j = inside && column + $i * 4u + $j < columns;
  raw[$i][$j] = select(0.0, f32(a[at + select(0u, $i * 4u + $j, in$i$j)]), in$i$j);
//#end
//#end
  return raw;
//#end
//#end
}

fn fetchB(row: u32, column: u32, rows: u32, columns: u32) -> RawB {
  let inside = row < rows && column < columns;
  let at = params.bOffset + select(0u, row * params.bStride + column, inside);
//#if MODE_B_HALVES
  return select(vec4<u32>(), b[at / 8u], inside);
//#else
//#if MODE_B_QUADS
  let second = inside && column + 4u < columns;
  let low = select(vec4<f32>(), vec4<f32>(b[at / 4u]), inside);
  return mat2x4<f32>(low, select(vec4<f32>(), vec4<f32>(b[at / 4u + select(0u, 1u, second)]), second));
//#else
  var raw: mat2x4<f32>;
//#repeat i 0 2
//#repeat j 0 4
  let in$i$j = inside && column + $i * 4u + $j < columns;
  raw[$i][$j] = select(0.0, f32(b[at + select(0u, $i * 4u + $j, in$i$j)]), in$i$j);
//#end
//#end
  return raw;
//#end
//#end
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let m0 = workgroup.y * TILE_M;
  let n0 = workgroup.x * TILE_N;
  var k0 = 0u;
  var end = params.K;
//#if SPLIT
  k0 = workgroup.z * params.depth;
  end = min(params.K, k0 + params.depth);
//#end
  let subgroup = thread / LANES;
  enterSubgroup(thread % LANES);
  // First row and column of the subgroup inside the tile.
  let sm = subgroup / SUB_N * FRAG_M * 16u;
  let sn = subgroup % SUB_N * FRAG_N * 16u;

//#repeat i 0 FRAG_M
//#repeat j 0 FRAG_N
  var sum$i$j: Sum;
//#end
//#end
  // A turn fetches tile k0 into registers, multiplies the tile before it, then puts the registers in its place.
  var ready = false;
  var stage = 0u;
  for (; ; k0 += TILE_K) {
    let more = k0 < end;
//#repeat i 0 CHUNKS_A
    var rawA$i: RawA;
//#end
//#repeat i 0 CHUNKS_B
    var rawB$i: RawB;
//#end
    if (more) {
//#repeat i 0 CHUNKS_A
      {
        let chunk = thread + $i * THREADS;
//#if TRANS_A
        rawA$i = fetchA(k0 + chunk / WIDTH_A, m0 + chunk % WIDTH_A * 8u, end, params.M);
//#else
        rawA$i = fetchA(m0 + chunk / WIDTH_A, k0 + chunk % WIDTH_A * 8u, params.M, end);
//#end
      }
//#end
//#repeat i 0 CHUNKS_B
      {
        let chunk = thread + $i * THREADS;
//#if TRANS_B
        rawB$i = fetchB(n0 + chunk / WIDTH_B, k0 + chunk % WIDTH_B * 8u, params.N, end);
//#else
        rawB$i = fetchB(k0 + chunk / WIDTH_B, n0 + chunk % WIDTH_B * 8u, end, params.N);
//#end
      }
//#end
    }
    if (ready) {
      // The tiles of the turn before.
      let base = (STAGES - 1u - stage) * STAGE;
//#repeat k 0 STEPS_K
      {
//#repeat i 0 FRAG_M
//#if TRANS_A
        let left$i = loadLeft(base + $k * 16u * PITCH_A + sm / 8u + $i * 2u);
//#else
        let left$i = loadLeft(base + (sm + $i * 16u) * PITCH_A + $k * 2u);
//#end
//#end
//#repeat j 0 FRAG_N
//#if TRANS_B
        let right$j = loadRight(base + SIZE_A + (sn + $j * 16u) * PITCH_B + $k * 2u);
//#else
        let right$j = loadRight(base + SIZE_A + $k * 16u * PITCH_B + sn / 8u + $j * 2u);
//#end
//#repeat i 0 FRAG_M
        sum$i$j = multiplyAdd(left$i, right$j, sum$i$j);
//#end
//#end
      }
//#end
    }
    if (!more) {
      break;
    }
//#if SINGLE_STAGE
    workgroupBarrier();
//#end
    let base = stage * STAGE;
//#repeat i 0 CHUNKS_A
    {
      let chunk = thread + $i * THREADS;
//#if MODE_A_HALVES
      put(base + chunk / WIDTH_A * PITCH_A + chunk % WIDTH_A, rawA$i);
//#else
      put(base + chunk / WIDTH_A * PITCH_A + chunk % WIDTH_A, pack(rawA$i));
//#end
    }
//#end
//#repeat i 0 CHUNKS_B
    {
      let chunk = thread + $i * THREADS;
//#if MODE_B_HALVES
      put(base + SIZE_A + chunk / WIDTH_B * PITCH_B + chunk % WIDTH_B, rawB$i);
//#else
      put(base + SIZE_A + chunk / WIDTH_B * PITCH_B + chunk % WIDTH_B, pack(rawB$i));
//#end
    }
//#end
    workgroupBarrier();
    stage = STAGES - 1u - stage;
    ready = true;
  }

//#if DIRECT
  // A whole tile with no epilogue goes straight to memory.
  if ((params.flags | u32(m0 + TILE_M > params.M) | u32(n0 + TILE_N > params.N)) == 0u) {
//#if SPLIT
    let corner = (workgroup.z * params.M + m0 + sm) * params.N + n0 + sn;
    let pitch = params.N;
//#else
    let corner = params.outOffset + (m0 + sm) * params.outStride + n0 + sn;
    let pitch = params.outStride;
//#end
//#repeat i 0 FRAG_M
//#repeat j 0 FRAG_N
    storeOut(corner + $i * 16u * pitch + $j * 16u, sum$i$j, pitch);
//#end
//#end
    return;
  }
//#end
  let strip = subgroup * STRIP;
//#repeat i 0 FRAG_M
  workgroupBarrier();
//#repeat j 0 FRAG_N
  storeStrip(strip + $j * 4u, sum$i$j);
//#end
  workgroupBarrier();
  for (var q = thread % LANES; q < FRAG_N * 64u; q += LANES) {
    let row = q / (FRAG_N * 4u);
    let quad = q % (FRAG_N * 4u);
//#if HALVES
    let sums = bitcast<vec4<f32>>(strips[strip + row * STRIP_WIDTH + quad]);
//#else
    let sums = bitcast<vec4<f32>>(tiles[strip + row * STRIP_WIDTH + quad]);
//#end
    store(m0 + sm + $i * 16u + row, n0 + sn + quad * 4u, sums, workgroup.z);
  }
//#end
}
