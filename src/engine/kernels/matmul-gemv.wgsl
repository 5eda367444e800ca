// out[M,N] = act(a·bᵀ + bias) + residual (+ out) for few rows: a is [M,K], b is [N,K], each row of b is read once per
// ROWS rows of a. The decode step's product, bound by the bandwidth of b.
//
// 128 threads: 128 / LANES groups, each of which makes ROWS × COLS results. The LANES threads of a group walk along K
// together, four elements each, so that a group reads LANES·16 neighbouring bytes; their sums meet in workgroup memory.
//#include matmul-epilogue-scalar
struct Params {
  M: u32,
  N: u32,
  K: u32,
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

const GROUPS = 128u / LANES;
const RESULTS = ROWS * COLS;
// One word of padding keeps the lanes of a group in different banks.
const PITCH = RESULTS + 1u;
var<workgroup> partial: array<f32, 128u * PITCH>;

fn loadA(row: u32, k: u32) -> vec4<f32> {
  let inside = row < params.M;
  let at = params.aOffset + select(0u, row * params.aStride, inside) + k;
//#if VEC
  return select(vec4<f32>(), vec4<f32>(a[at / 4u]), inside);
//#else
  let left = params.K - k;
  let y = min(1u, left - 1u);
  let z = min(2u, left - 1u);
  let w = min(3u, left - 1u);
  let value = vec4<f32>(f32(a[at]), f32(a[at + y]), f32(a[at + z]), f32(a[at + w]));
  return select(vec4<f32>(), value, vec4<bool>(inside, inside && left > 1u, inside && left > 2u, inside && left > 3u));
//#end
}

fn loadB(column: u32, k: u32) -> vec4<f32> {
  let inside = column < params.N;
  let at = params.bOffset + select(0u, column * params.bStride, inside) + k;
//#if VEC
  return select(vec4<f32>(), vec4<f32>(b[at / 4u]), inside);
//#else
  let left = params.K - k;
  let y = min(1u, left - 1u);
  let z = min(2u, left - 1u);
  let w = min(3u, left - 1u);
  let value = vec4<f32>(f32(b[at]), f32(b[at + y]), f32(b[at + z]), f32(b[at + w]));
  return select(vec4<f32>(), value, vec4<bool>(inside, inside && left > 1u, inside && left > 2u, inside && left > 3u));
//#end
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let lane = thread % LANES;
  let group = thread / LANES;
  let row0 = workgroup.y * ROWS;
  let column0 = (workgroup.x * GROUPS + group) * COLS;
//#repeat r 0 ROWS
//#repeat c 0 COLS
  var sum$r$c = vec4<f32>(0.0);
//#end
//#end
  for (var k = lane * 4u; k < params.K; k += LANES * 4u) {
//#repeat c 0 COLS
    let b$c = loadB(column0 + $c, k);
//#end
//#repeat r 0 ROWS
    let a$r = loadA(row0 + $r, k);
//#repeat c 0 COLS
    sum$r$c = fma(a$r, b$c, sum$r$c);
//#end
//#end
  }
//#repeat r 0 ROWS
//#repeat c 0 COLS
  partial[thread * PITCH + $r * COLS + $c] = (sum$r$c.x + sum$r$c.y) + (sum$r$c.z + sum$r$c.w);
//#end
//#end
  workgroupBarrier();
  for (var i = thread; i < GROUPS * RESULTS; i += 128u) {
    let owner = i / RESULTS;
    let result = i % RESULTS;
    var sum = 0.0;
    for (var l = 0u; l < LANES; l++) {
      sum += partial[(owner * LANES + l) * PITCH + result];
    }
    finish(row0 + result / COLS, (workgroup.x * GROUPS + owner) * COLS + result % COLS, sum);
  }
}
