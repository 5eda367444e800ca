// First pass of the selective scan's gradient where the sequence is cut into segments: the gradient that every segment
// hands to the one before it, as if nothing came from behind (selective-scan-carry makes it whole).
//
//   c ← exp(dt·A)·(c + dy·C), from the last token to the first, with dy = dOut·silu(z).
//
// Shapes and the division of work are those of selective-scan; leaves `segments` (c) and `sums` (Σ dt).
//#include flat
//#include scan-math

struct Params {
  rows: u32, blocks: u32, length: u32, dInner: u32, segment: u32, nSegments: u32,
  dtOffset: u32, dtStride: u32, zOffset: u32, zStride: u32, dOutOffset: u32, dOutStride: u32, COffset: u32, CStride: u32,
  aLogOffset: u32, dtBiasOffset: u32, lengthsOffset: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> dt: array<f32>;
@group(0) @binding(1) var<storage, read> aLog: array<f32>;
@group(0) @binding(2) var<storage, read> C: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read> dOut: array<f32>;
@group(0) @binding(5) var<storage, read> dtBias: array<f32>;
@group(0) @binding(6) var<storage, read> lengths: array<i32>;
@group(0) @binding(7) var<storage, read_write> segments: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;
@group(0) @binding(9) var<uniform> p: Params;

const THREADS: u32 = CHANNELS * LANES;
const STATE_VECS: u32 = LANES * VECS;
const PADDED: u32 = 4u * STATE_VECS;

var<workgroup> steps: array<vec2f, STEPS * CHANNELS>;
var<workgroup> tileC: array<vec4f, STEPS * STATE_VECS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  let row = id / p.blocks;
  let block = id % p.blocks;
  if (row >= p.rows) {
    return;
  }
  let b = row / p.nSegments;
  let begin = (row % p.nSegments) * p.segment;
  let end = min(begin + p.segment, p.length);
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let column = block * CHANNELS + tid % CHANNELS;
  let columnOk = column < p.dInner;
  let slot = tid / CHANNELS;
  let lane = tid % LANES;
  let local = tid / LANES;
  let d = block * CHANNELS + local;
  let owned = d < p.dInner;

  var bias = 0.0f;
  if (HAS_BIAS && columnOk) {
    bias = dtBias[p.dtBiasOffset + column];
  }
  var A2: array<vec4f, VECS>;
  var c: array<vec4f, VECS>;
  for (var v = 0u; v < VECS; v++) {
    A2[v] = vec4f(0.0f);
    c[v] = vec4f(0.0f);
    for (var k = 0u; k < 4u; k++) {
      let n = (lane * VECS + v) * 4u + k;
      if (owned && n < STATES) {
        A2[v][k] = -exp(aLog[p.aLogOffset + d * STATES + n]) * LOG2E;
      }
    }
  }
  var sum = 0.0f;

  let tiles = (end - begin + STEPS - 1u) / STEPS;
  for (var i = 0u; i < tiles; i++) {
    let first = begin + (tiles - 1u - i) * STEPS;
    //#repeat copy 0 PER
    {
      const j = $copy;
      let inTile = slot + j * LANES;
      let t = first + inTile;
      var cell = vec2f(0.0f);
      if (t < min(end, real) && columnOk) {
        let at = b * p.length + t;
        cell.x = clamp(softplus(dt[p.dtOffset + at * p.dtStride + column] + bias), p.dtLow, p.dtHigh);
        cell.y = dOut[p.dOutOffset + at * p.dOutStride + column];
        if (HAS_Z) {
          let gate = z[p.zOffset + at * p.zStride + column];
          cell.y *= gate * sigmoid(gate);
        }
      }
      steps[inTile * CHANNELS + tid % CHANNELS] = cell;
    }
    //#end
    for (var e = tid; e < STEPS * PADDED; e += THREADS) {
      let t = first + e / PADDED;
      let n = e % PADDED;
      var value = 0.0f;
      if (t < min(end, real) && n < STATES) {
        value = C[p.COffset + (b * p.length + t) * p.CStride + n];
      }
      tileC[e / 4u][e % 4u] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < STEPS; k++) {
      let t = STEPS - 1u - k;
      let s = steps[t * CHANNELS + local];
      for (var v = 0u; v < VECS; v++) {
        c[v] = exp2(s.x * A2[v]) * fma(vec4f(s.y), tileC[t * STATE_VECS + lane * VECS + v], c[v]);
      }
      sum += s.x;
    }
    workgroupBarrier();
  }
  if (owned) {
    for (var v = 0u; v < VECS; v++) {
      segments[(row * p.dInner + d) * STATE_VECS + lane * VECS + v] = c[v];
    }
    if (lane == 0u) {
      sums[row * p.dInner + d] = sum;
    }
  }
}
