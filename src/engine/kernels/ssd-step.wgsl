// SSD of one token: the decode step. Every state is read and written once, four at a time by neighbouring invocations.
//
//   x, out [batch, 1, nHeads·headDim] · dt [batch, 1, nHeads] · B, C [batch, 1, nGroups·dState]
//   state [batch, nHeads, headDim, dState]
//
// A workgroup takes ROWS · PASSES rows (headDim) of one head, LANES = ⌈dState / 4⌉ invocations a row. VECTOR (1 or 0):
// whether rows of the state are whole vec4s.
//#include flat
//#include scan-math

struct Params {
  total: u32, nHeads: u32, headsPerGroup: u32, blocks: u32,
  xOffset: u32, xStride: u32, dtOffset: u32, dtStride: u32, BOffset: u32, BStride: u32, COffset: u32, CStride: u32,
  outOffset: u32, outStride: u32, aLogOffset: u32, skipOffset: u32, dtBiasOffset: u32, lengthsOffset: u32, stateOffset: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dt: array<f32>;
@group(0) @binding(2) var<storage, read> aLog: array<f32>;
@group(0) @binding(3) var<storage, read> B: array<f32>;
@group(0) @binding(4) var<storage, read> C: array<f32>;
@group(0) @binding(5) var<storage, read> skip: array<f32>;
@group(0) @binding(6) var<storage, read> dtBias: array<f32>;
@group(0) @binding(7) var<storage, read> lengths: array<i32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;
@group(0) @binding(9) var<storage, read_write> state: array<CELL>;
@group(0) @binding(10) var<uniform> p: Params;

const THREADS: u32 = LANES * ROWS;

var<workgroup> sums: array<f32, PASSES * THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  let row0 = id % p.blocks * ROWS * PASSES;
  let head = id / p.blocks;
  let h = head % p.nHeads;
  let b = head / p.nHeads;
  var real = true;
  if (HAS_LENGTHS) {
    real = lengths[p.lengthsOffset + b] > 0;
  }
  let n = tid % LANES * 4u;
  let column = h * HEAD_DIM;
  if (real) {
    var raw = dt[p.dtOffset + b * p.dtStride + h];
    if (HAS_BIAS) {
      raw += dtBias[p.dtBiasOffset + h];
    }
    let step = clamp(softplus(raw), p.dtLow, p.dtHigh);
    let A = -exp(aLog[p.aLogOffset + h]);
    var weight = step;
    if (ZOH) {
      weight *= phi(step * A);
    }
    let fade = exp(step * A);
    var tokenB = vec4f(0.0f);
    var tokenC = vec4f(0.0f);
    let from0 = h / p.headsPerGroup * STATES + n;
    for (var k = 0u; k < 4u; k++) {
      if (n + k < STATES) {
        tokenB[k] = B[p.BOffset + b * p.BStride + from0 + k];
        tokenC[k] = C[p.COffset + b * p.CStride + from0 + k];
      }
    }
    for (var pass_ = 0u; pass_ < PASSES; pass_++) {
      let row = row0 + pass_ * ROWS + tid / LANES;
      var y = 0.0f;
      if (row < HEAD_DIM) {
        let at = p.stateOffset + (head * HEAD_DIM + row) * STATES + n;
        let u = weight * x[p.xOffset + b * p.xStride + column + row];
        //#repeat i 0 VECTOR
        let s = fade * state[at / 4u] + u * tokenB;
        state[at / 4u] = s;
        //#end
        //#repeat i 0 SCALAR
        var s = vec4f(0.0f);
        for (var k = 0u; k < 4u; k++) {
          if (n + k < STATES) {
            s[k] = fade * state[at + k] + u * tokenB[k];
            state[at + k] = s[k];
          }
        }
        //#end
        y = dot(tokenC, s);
      }
      sums[pass_ * THREADS + tid] = y;
    }
  }
  workgroupBarrier();
  for (var r = tid; r < ROWS * PASSES; r += THREADS) {
    let row = row0 + r;
    if (row < HEAD_DIM) {
      var y = 0.0f;
      if (real) {
        for (var k = 0u; k < LANES; k++) {
          y += sums[r * LANES + (k + r) % LANES];
        }
        if (HAS_SKIP) {
          y += skip[p.skipOffset + h] * x[p.xOffset + b * p.xStride + column + row];
        }
      }
      out[p.outOffset + b * p.outStride + column + row] = y;
    }
  }
}
