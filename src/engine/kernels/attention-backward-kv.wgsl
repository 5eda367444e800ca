// Second pass of the gradient of attention.wgsl: dK and dV, a workgroup per token and key-value head. Every later query within
// the window, of every head that shares this key, gives its share; queries are taken THREADS at a time, a thread per
// query makes its softmax again from `stats`, then a thread per element adds up.
//#include flat
struct Params {
  batch: u32,
  length: u32,
  nHeads: u32,
  kvHeads: u32,
  headsPerKv: u32,
  window: u32,
  scale: f32,
  headDim: u32,
  hasLengths: u32,
  dKOffset: u32,
  dKStride: u32,
  dVOffset: u32,
  dVStride: u32,
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
@group(0) @binding(0) var<storage, read_write> dK: array<f32>;
@group(0) @binding(1) var<storage, read_write> dV: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dOut: array<f32>;
@group(0) @binding(4) var<storage, read> q: array<f32>;
@group(0) @binding(5) var<storage, read> k: array<f32>;
@group(0) @binding(6) var<storage, read> v: array<f32>;
@group(0) @binding(7) var<storage, read> bias: array<f32>;
@group(0) @binding(8) var<storage, read> lengths: array<i32>;
@group(0) @binding(9) var<uniform> params: Params;

// Elements of the head that one thread owns. HEAD_LIMIT is a power of two, to keep the number of variants small.
const OWN = HEAD_LIMIT / THREADS;
var<workgroup> key: array<f32, HEAD_LIMIT>;
var<workgroup> value: array<f32, HEAD_LIMIT>;
var<workgroup> shares: array<f32, THREADS>;
var<workgroup> slopes: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let task = flatWorkgroup(workgroup, groups);
  let kvHead = task % params.kvHeads;
  let row = task / params.kvHeads;
  let s = row % params.length;
  let b = row / params.length;
  if (b >= params.batch) {
    return;
  }
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  // Queries s … s + reach − 1.
  let reach = select(0u, min(params.window, real - min(s, real)), s < real);
  for (var j = lane; j < params.headDim; j += THREADS) {
    key[j] = k[params.kOffset + row * params.kStride + kvHead * params.headDim + j];
    value[j] = v[params.vOffset + row * params.vStride + kvHead * params.headDim + j];
  }
  workgroupBarrier();
  var keySums: array<f32, OWN>;
  var valueSums: array<f32, OWN>;
  for (var head = kvHead * params.headsPerKv; head < (kvHead + 1u) * params.headsPerKv; head++) {
    for (var d0 = 0u; d0 < reach; d0 += THREADS) {
      let d = d0 + lane;
      var share = 0.0;
      var slope = 0.0;
      if (d < reach) {
        let queryAt = params.qOffset + (row + d) * params.qStride + head * params.headDim;
        let upstreamAt = params.dOutOffset + (row + d) * params.dOutStride + head * params.headDim;
        var dot = 0.0;
        var pull = 0.0;
        for (var j = 0u; j < params.headDim; j++) {
          dot += q[queryAt + j] * key[j];
          pull += dOut[upstreamAt + j] * value[j];
        }
        let stat = ((row + d) * params.nHeads + head) * 2u;
        let logit = dot * params.scale + bias[params.biasOffset + head * params.biasStride + d];
        share = exp(logit - stats[stat]);
        slope = share * (pull - stats[stat + 1u]) * params.scale;
      }
      workgroupBarrier();
      shares[lane] = share;
      slopes[lane] = slope;
      workgroupBarrier();
      for (var o = 0u; o < OWN; o++) {
        let j = o * THREADS + lane;
        if (j < params.headDim) {
          for (var e = 0u; e < min(THREADS, reach - d0); e++) {
            let other = row + d0 + e;
            keySums[o] += slopes[e] * q[params.qOffset + other * params.qStride + head * params.headDim + j];
            valueSums[o] += shares[e] * dOut[params.dOutOffset + other * params.dOutStride + head * params.headDim + j];
          }
        }
      }
    }
  }
  for (var o = 0u; o < OWN; o++) {
    let j = o * THREADS + lane;
    if (j < params.headDim) {
      dK[params.dKOffset + row * params.dKStride + kvHead * params.headDim + j] = keySums[o];
      dV[params.dVOffset + row * params.dVStride + kvHead * params.headDim + j] = valueSums[o];
    }
  }
}
