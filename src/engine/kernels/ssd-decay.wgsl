// SSD, step 1: step sizes and their running decay within each chunk.
//
//   dt [batch, length, nHeads] → decay [batch, nChunks, nHeads, CHUNK] of (weight, Σ dt·A up to and with the token in two floats, 0)
//
// weight is what multiplies B·x: dt itself, or dt·phi(dt·A) under zero-order hold. Tokens that are not real have dt = 0:
// they neither decay nor add. Beyond
// −LEAST nothing is left after one token, so that sums stay bounded whatever the step. A workgroup per (sequence, chunk, head), an invocation a token.
//#include flat
//#include scan-math

struct Params {
  total: u32, length: u32, nChunks: u32, nHeads: u32,
  dtOffset: u32, dtStride: u32, aLogOffset: u32, dtBiasOffset: u32, lengthsOffset: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> dt: array<f32>;
@group(0) @binding(1) var<storage, read> aLog: array<f32>;
@group(0) @binding(2) var<storage, read> dtBias: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read_write> decay: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;

const LEAST: f32 = 200.0f;

// The high parts are multiples of 1/GRAIN and at most CHUNK·LEAST in sum, which a float holds exactly; the low ones stay small.
const GRAIN: f32 = 64.0f;

var<workgroup> sums: array<vec2f, 2u * CHUNK>;

@compute @workgroup_size(CHUNK)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  let h = id % p.nHeads;
  let b = id / p.nHeads / p.nChunks;
  let t = (id / p.nHeads) % p.nChunks * CHUNK + tid;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let A = -exp(aLog[p.aLogOffset + h]);
  var step = 0.0f;
  if (t < real) {
    var raw = dt[p.dtOffset + (b * p.length + t) * p.dtStride + h];
    if (HAS_BIAS) {
      raw += dtBias[p.dtBiasOffset + h];
    }
    step = clamp(softplus(raw), p.dtLow, p.dtHigh);
  }
  let fade = max(step * A, -LEAST);
  let high = round(fade * GRAIN) / GRAIN;
  sums[tid] = vec2f(high, fade - high);
  workgroupBarrier();
  // Inclusive scan by doubling, between two halves of the array.
  var source = 0u;
  for (var reach = 1u; reach < CHUNK; reach *= 2u) {
    var value = sums[source + tid];
    if (tid >= reach) {
      value += sums[source + tid - reach];
    }
    source = CHUNK - source;
    sums[source + tid] = value;
    workgroupBarrier();
  }
  var weight = step;
  if (ZOH) {
    weight *= phi(step * A);
  }
  decay[id * CHUNK + tid] = vec4f(weight, sums[source + tid], 0.0f);
}
