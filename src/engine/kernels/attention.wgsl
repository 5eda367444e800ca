// Causal attention over the last `window` tokens, a workgroup per token and query head.
// Keys are taken THREADS distances at a time: a thread per distance makes its logit, the workgroup their maximum and sum,
// then a thread per element of the head adds up values. Running maximum and sum (online softmax) let the window be of any size.
// Time t < 0 reads the cache [batch, window − 1, kvHeads·headDim], newest last, of which `cacheCount` entries are valid.
//#include flat
//#include workgroup-sum
//#include workgroup-max
struct Params {
  batch: u32,
  length: u32,
  nHeads: u32,
  headsPerKv: u32,
  window: u32,
  scale: f32,
  headDim: u32,
  hasCache: u32,
  hasLengths: u32,
  outOffset: u32,
  outStride: u32,
  qOffset: u32,
  qStride: u32,
  kOffset: u32,
  kStride: u32,
  vOffset: u32,
  vStride: u32,
  biasOffset: u32,
  biasStride: u32,
  cacheKOffset: u32,
  cacheVOffset: u32,
  cacheWidth: u32,
  cacheCountOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> cacheK: array<f32>;
@group(0) @binding(6) var<storage, read> cacheV: array<f32>;
@group(0) @binding(7) var<storage, read> cacheCount: array<i32>;
@group(0) @binding(8) var<storage, read> lengths: array<i32>;
@group(0) @binding(9) var<uniform> params: Params;

// Elements of the head that one thread owns. HEAD_LIMIT is a power of two, to keep the number of variants small.
const OWN = HEAD_LIMIT / THREADS;
const LOWEST = -3.4e38;
var<workgroup> shares: array<f32, THREADS>;
var<workgroup> query: array<f32, HEAD_LIMIT>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let task = flatWorkgroup(workgroup, groups);
  let head = task % params.nHeads;
  let row = task / params.nHeads;
  let t = row % params.length;
  let b = row / params.length;
  if (b >= params.batch) {
    return;
  }
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  let outAt = params.outOffset + row * params.outStride + head * params.headDim;
  var cached = 0u;
  if (params.hasCache != 0u) {
    cached = u32(cacheCount[params.cacheCountOffset + b]);
  }
  let reach = select(0u, min(params.window, t + 1u + cached), t < real);
  let kvAt = head / params.headsPerKv * params.headDim;
  let past = params.window - 1u;
  for (var j = lane; j < params.headDim; j += THREADS) {
    query[j] = q[params.qOffset + row * params.qStride + head * params.headDim + j];
  }
  workgroupBarrier();

  var highest = LOWEST;
  var total = 0.0;
  var sums: array<f32, OWN>;
  for (var d0 = 0u; d0 < reach; d0 += THREADS) {
    let d = d0 + lane;
    var logit = LOWEST;
    if (d < reach) {
      var dot = 0.0;
      if (d <= t) {
        let at = params.kOffset + (row - d) * params.kStride + kvAt;
        for (var j = 0u; j < params.headDim; j++) {
          dot += query[j] * k[at + j];
        }
      } else {
        let at = params.cacheKOffset + (b * past + past + t - d) * params.cacheWidth + kvAt;
        for (var j = 0u; j < params.headDim; j++) {
          dot += query[j] * cacheK[at + j];
        }
      }
      logit = dot * params.scale + bias[params.biasOffset + head * params.biasStride + d];
    }
    let top = max(highest, workgroupMax(logit, lane));
    let share = select(0.0, exp(logit - top), d < reach);
    shares[lane] = share;
    let fade = exp(highest - top);
    highest = top;
    total = total * fade + workgroupSum(share, lane);
    for (var i = 0u; i < OWN; i++) {
      let j = i * THREADS + lane;
      if (j < params.headDim) {
        var sum = sums[i] * fade;
        for (var e = 0u; e < min(THREADS, reach - d0); e++) {
          let distance = d0 + e;
          if (distance <= t) {
            sum += shares[e] * v[params.vOffset + (row - distance) * params.vStride + kvAt + j];
          } else {
            sum += shares[e] * cacheV[params.cacheVOffset + (b * past + past + t - distance) * params.cacheWidth + kvAt + j];
          }
        }
        sums[i] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < OWN; i++) {
    let j = i * THREADS + lane;
    if (j < params.headDim) {
      out[outAt + j] = select(0.0, sums[i] / total, reach > 0u);
    }
  }
}
