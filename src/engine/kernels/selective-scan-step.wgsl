// Mamba-1 selective scan of one token: the decode step. The state is read and written once; everything else is small.
//
//   x, dt, z, out [batch, 1, dInner] · B, C [batch, 1, dState] · state [batch, dInner, dState]
//
// LANES invocations share a channel, each with 4·VECS states. VECTOR (1 or 0): whether rows of the state are whole vec4s.
//#include flat
//#include scan-math

struct Params {
  batch: u32, blocks: u32, dInner: u32,
  xOffset: u32, xStride: u32, dtOffset: u32, dtStride: u32, zOffset: u32, zStride: u32,
  BOffset: u32, BStride: u32, COffset: u32, CStride: u32, outOffset: u32, outStride: u32,
  aLogOffset: u32, skipOffset: u32, dtBiasOffset: u32, lengthsOffset: u32, stateOffset: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dt: array<f32>;
@group(0) @binding(2) var<storage, read> aLog: array<f32>;
@group(0) @binding(3) var<storage, read> B: array<f32>;
@group(0) @binding(4) var<storage, read> C: array<f32>;
@group(0) @binding(5) var<storage, read> z: array<f32>;
@group(0) @binding(6) var<storage, read> skip: array<f32>;
@group(0) @binding(7) var<storage, read> dtBias: array<f32>;
@group(0) @binding(8) var<storage, read> lengths: array<i32>;
@group(0) @binding(9) var<storage, read_write> out: array<f32>;
@group(0) @binding(10) var<storage, read_write> state: array<CELL>;
@group(0) @binding(11) var<uniform> p: Params;

const THREADS: u32 = CHANNELS * LANES;

var<workgroup> parts: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  let b = id / p.blocks;
  let block = id % p.blocks;
  if (b >= p.batch) {
    return;
  }
  var real = true;
  if (HAS_LENGTHS) {
    real = lengths[p.lengthsOffset + b] > 0;
  }
  let lane = tid % LANES;
  let d = block * CHANNELS + tid / LANES;
  var y = 0.0f;
  if (d < p.dInner && real) {
    var raw = dt[p.dtOffset + b * p.dtStride + d];
    if (HAS_BIAS) {
      raw += dtBias[p.dtBiasOffset + d];
    }
    let step = clamp(softplus(raw), p.dtLow, p.dtHigh);
    let u = step * x[p.xOffset + b * p.xStride + d];
    for (var v = 0u; v < VECS; v++) {
      var A = vec4f(0.0f);
      var h = vec4f(0.0f);
      var tokenB = vec4f(0.0f);
      var tokenC = vec4f(0.0f);
      let first = (lane * VECS + v) * 4u;
      let at = p.stateOffset + (b * p.dInner + d) * STATES + first;
      for (var k = 0u; k < 4u; k++) {
        if (first + k < STATES) {
          A[k] = -exp(aLog[p.aLogOffset + d * STATES + first + k]);
          tokenB[k] = B[p.BOffset + b * p.BStride + first + k];
          tokenC[k] = C[p.COffset + b * p.CStride + first + k];
        }
      }
      //#repeat i 0 VECTOR
      if (first < STATES) {
        h = state[at / 4u];
      }
      //#end
      //#repeat i 0 SCALAR
      for (var k = 0u; k < 4u; k++) {
        if (first + k < STATES) {
          h[k] = state[at + k];
        }
      }
      //#end
      let e = step * A;
      var input = u * tokenB;
      if (ZOH) {
        input *= phi4(e);
      }
      h = fma(exp2(e * LOG2E), h, input);
      y += dot(tokenC, h);
      //#repeat i 0 VECTOR
      if (first < STATES) {
        state[at / 4u] = h;
      }
      //#end
      //#repeat i 0 SCALAR
      for (var k = 0u; k < 4u; k++) {
        if (first + k < STATES) {
          state[at + k] = h[k];
        }
      }
      //#end
    }
  }
  parts[tid] = y;
  workgroupBarrier();
  let column = block * CHANNELS + tid;
  if (tid < CHANNELS && column < p.dInner) {
    var total = 0.0f;
    if (real) {
      for (var k = 0u; k < LANES; k++) {
        total += parts[tid * LANES + k];
      }
      if (HAS_SKIP) {
        total = fma(skip[p.skipOffset + column], x[p.xOffset + b * p.xStride + column], total);
      }
      if (HAS_Z) {
        let gate = z[p.zOffset + b * p.zStride + column];
        total *= gate * sigmoid(gate);
      }
    }
    out[p.outOffset + b * p.outStride + column] = total;
  }
}
