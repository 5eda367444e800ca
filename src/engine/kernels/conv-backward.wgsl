// Gradient of conv.wgsl without state, K ≤ 8. With p[t] = dOut[t]·act'(y[t]), zero from t = length on:
//   dX[t,c] = Σ_k weight[c,k]·p[t + (K−1) − k],   dWeight[c,k] = Σ p[t]·x[t − (K−1) + k],   dBias[c] = Σ p[t].
// A thread takes one channel of `steps` times and runs K−1 times further, for the p that its last dX need. Its share of the
// weights' gradient goes to partial[block, C·K | C]; columnSum adds the blocks.
//#include flat
//#include activation
struct Params {
  batch: u32,
  length: u32,
  channels: u32,
  steps: u32,
  blocks: u32,
  hasBias: u32,
  hasLengths: u32,
  silu: u32,
  dXOffset: u32,
  dXStride: u32,
  dOutOffset: u32,
  dOutStride: u32,
  xOffset: u32,
  xStride: u32,
  weightOffset: u32,
  weightStride: u32,
  biasOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> dX: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<storage, read> dOut: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> lengths: array<i32>;
@group(0) @binding(7) var<uniform> params: Params;

const PAST = K - 1u;

// Input PAST steps before t, zero before the sequence.
fn input(b: u32, t: u32, c: u32) -> f32 {
  if (t < PAST) {
    return 0.0;
  }
  return x[params.xOffset + (b * params.length + t - PAST) * params.xStride + c];
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 64u + lane;
  let c = i % params.channels;
  let block = i / params.channels % params.blocks;
  let b = i / params.channels / params.blocks;
  if (b >= params.batch) {
    return;
  }
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  let start = block * params.steps;
  let end = min(params.length, start + params.steps);
  var offset = 0.0;
  if (params.hasBias != 0u) {
    offset = bias[params.biasOffset + c];
  }
  var own: array<f32, K>;
  var near: array<f32, K>;
  // pull[j] is p at time t − PAST + j.
  var pull: array<f32, K>;
  var dWeight: array<f32, K>;
  var dBias = 0.0;
  for (var k = 0u; k < K; k++) {
    own[k] = weight[params.weightOffset + c * params.weightStride + k];
  }
  for (var k = 0u; k < PAST; k++) {
    near[k + 1u] = 0.0;
    if (start + k < params.length + PAST) {
      near[k + 1u] = input(b, start + k, c);
    }
  }
  for (var t = start; t < end + PAST; t++) {
    var p = 0.0;
    for (var k = 0u; k < PAST; k++) {
      near[k] = near[k + 1u];
      pull[k] = pull[k + 1u];
    }
    if (t < real) {
      near[PAST] = input(b, t + PAST, c);
      p = dOut[params.dOutOffset + (b * params.length + t) * params.dOutStride + c];
      if (params.silu != 0u) {
        var y = offset;
        for (var k = 0u; k < K; k++) {
          y += own[k] * near[k];
        }
        p *= siluSlope(y);
      }
      if (t < end) {
        dBias += p;
        for (var k = 0u; k < K; k++) {
          dWeight[k] += p * near[k];
        }
      }
    }
    pull[PAST] = p;
    if (t >= start + PAST) {
      // All uses of x[t − PAST] end at t; p[t − PAST + j] met it with weight K − 1 − j.
      var sum = 0.0;
      for (var j = 0u; j < K; j++) {
        sum += own[PAST - j] * pull[j];
      }
      dX[params.dXOffset + (b * params.length + t - PAST) * params.dXStride + c] = sum;
    }
  }
  let row = (b * params.blocks + block) * params.channels * (K + 1u);
  for (var k = 0u; k < K; k++) {
    partial[row + c * K + k] = dWeight[k];
  }
  partial[row + params.channels * K + c] = dBias;
}
