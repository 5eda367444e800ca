// First pass of the gradient of attention.wgsl (without cache): dQ, a share of dBias, and for each token and head what the
// second pass needs to make the softmax again: stats = (log of the sum of exp(logits), Σ_d share·(dOut·v)).
// With share[d] the softmax and g[d] = dOut·v[t−d]:  dLogit[d] = share[d]·(g[d] − Σ share·g).
// A workgroup takes one head and `chunk` tokens of one sequence in turn; thread `lane` owns distances lane, lane + THREADS, …
//#include workgroup-sum
//#include workgroup-max
struct Params {
  length: u32,
  nHeads: u32,
  headsPerKv: u32,
  window: u32,
  chunk: u32,
  chunks: u32,
  scale: f32,
  headDim: u32,
  hasLengths: u32,
  dQOffset: u32,
  dQStride: u32,
  dOutOffset: u32,
  dOutStride: u32,
  qOffset: u32,
  qStride: u32,
  kOffset: u32,
  kStride: u32,
  vOffset: u32,
  vStride: u32,
  biasOffset: u32,
  biasStride: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> dQ: array<f32>;
// [batch, chunks, nHeads, window]
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
// [batch·length, nHeads, 2]
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> q: array<f32>;
@group(0) @binding(5) var<storage, read> k: array<f32>;
@group(0) @binding(6) var<storage, read> v: array<f32>;
@group(0) @binding(7) var<storage, read> bias: array<f32>;
@group(0) @binding(8) var<storage, read> lengths: array<i32>;
@group(0) @binding(9) var<uniform> params: Params;

// Elements of the head that one thread owns. HEAD_LIMIT is a power of two, to keep the number of variants small.
const OWN = HEAD_LIMIT / THREADS;
// Distances of one thread.
const REACH = WINDOW_LIMIT / THREADS;
const LOWEST = -3.4e38;
var<workgroup> query: array<f32, HEAD_LIMIT>;
var<workgroup> upstream: array<f32, HEAD_LIMIT>;
var<workgroup> slopes: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = workgroup.x;
  let b = workgroup.z;
  let kvAt = head / params.headsPerKv * params.headDim;
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  var dBias: array<f32, REACH>;
  let end = min(params.length, (workgroup.y + 1u) * params.chunk);
  for (var t = workgroup.y * params.chunk; t < end; t++) {
    let row = b * params.length + t;
    let reach = select(0u, min(params.window, t + 1u), t < real);
    workgroupBarrier();
    for (var j = lane; j < params.headDim; j += THREADS) {
      query[j] = q[params.qOffset + row * params.qStride + head * params.headDim + j];
      upstream[j] = dOut[params.dOutOffset + row * params.dOutStride + head * params.headDim + j];
    }
    workgroupBarrier();
    var logits: array<f32, REACH>;
    var pulls: array<f32, REACH>;
    var top = LOWEST;
    for (var i = 0u; i < REACH; i++) {
      let d = i * THREADS + lane;
      logits[i] = LOWEST;
      pulls[i] = 0.0;
      if (d < reach) {
        let keyAt = params.kOffset + (row - d) * params.kStride + kvAt;
        let valueAt = params.vOffset + (row - d) * params.vStride + kvAt;
        var dot = 0.0;
        var pull = 0.0;
        for (var j = 0u; j < params.headDim; j++) {
          dot += query[j] * k[keyAt + j];
          pull += upstream[j] * v[valueAt + j];
        }
        logits[i] = dot * params.scale + bias[params.biasOffset + head * params.biasStride + d];
        pulls[i] = pull;
        top = max(top, logits[i]);
      }
    }
    top = workgroupMax(top, lane);
    var total = 0.0;
    for (var i = 0u; i < REACH; i++) {
      if (i * THREADS + lane < reach) {
        total += exp(logits[i] - top);
      }
    }
    total = workgroupSum(total, lane);
    let logTotal = top + log(total);
    var mean = 0.0;
    for (var i = 0u; i < REACH; i++) {
      if (i * THREADS + lane < reach) {
        mean += exp(logits[i] - logTotal) * pulls[i];
      }
    }
    mean = workgroupSum(mean, lane);
    if (lane == 0u) {
      stats[(row * params.nHeads + head) * 2u] = logTotal;
      stats[(row * params.nHeads + head) * 2u + 1u] = mean;
    }
    // Cleared by hand; see source.ts.
    var sums: array<f32, OWN>;
    for (var o = 0u; o < OWN; o++) {
      sums[o] = 0.0;
    }
    for (var i = 0u; i < REACH; i++) {
      var slope = 0.0;
      if (i * THREADS + lane < reach) {
        slope = exp(logits[i] - logTotal) * (pulls[i] - mean);
      }
      dBias[i] += slope;
      workgroupBarrier();
      slopes[lane] = slope;
      workgroupBarrier();
      for (var o = 0u; o < OWN; o++) {
        let j = o * THREADS + lane;
        if (j < params.headDim && i * THREADS < reach) {
          for (var e = 0u; e < min(THREADS, reach - i * THREADS); e++) {
            sums[o] += slopes[e] * k[params.kOffset + (row - i * THREADS - e) * params.kStride + kvAt + j];
          }
        }
      }
    }
    for (var o = 0u; o < OWN; o++) {
      let j = o * THREADS + lane;
      if (j < params.headDim) {
        dQ[params.dQOffset + row * params.dQStride + head * params.headDim + j] = sums[o] * params.scale;
      }
    }
  }
  for (var i = 0u; i < REACH; i++) {
    let d = i * THREADS + lane;
    if (d < params.window) {
      partial[((b * params.chunks + workgroup.y) * params.nHeads + head) * params.window + d] = dBias[i];
    }
  }
}
