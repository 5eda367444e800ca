// Causal depthwise convolution: out[t,c] = act(bias[c] + Σ_k weight[c,k]·x[t − (K−1) + k, c]); zeros from t = length on.
// A thread takes one channel of one sequence for `steps` times. The last K inputs stay in registers where K ≤ 8 (SHORT),
// otherwise every input is read again. x before time 0 comes from state [batch, K−1, channels], if given.
// WHOLE: a thread takes all times and, having read all of its state, writes the new one: the decode step in one launch.
//#include flat
//#include activation
struct Params {
  batch: u32,
  length: u32,
  channels: u32,
  steps: u32,
  blocks: u32,
  hasBias: u32,
  hasState: u32,
  hasLengths: u32,
  silu: u32,
  outOffset: u32,
  outStride: u32,
  xOffset: u32,
  xStride: u32,
  weightOffset: u32,
  weightStride: u32,
  biasOffset: u32,
  stateOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<i32>;
@group(0) @binding(6) var<uniform> params: Params;

const PAST = K - 1u;

// Input at time t − PAST, counted from the first entry of the state.
fn input(b: u32, t: u32, c: u32) -> f32 {
  if (t >= PAST) {
    return x[params.xOffset + (b * params.length + t - PAST) * params.xStride + c];
  }
  if (params.hasState != 0u) {
    return state[params.stateOffset + (b * PAST + t) * params.channels + c];
  }
  return 0.0;
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
  let weightAt = params.weightOffset + c * params.weightStride;
//#if SHORT
  // near[k] is the input at time t − PAST + k. Loops over K are short and constant, so all of it is registers.
  var own: array<f32, K>;
  var near: array<f32, K>;
  for (var k = 0u; k < K; k++) {
    own[k] = weight[weightAt + k];
  }
  for (var k = 0u; k < PAST; k++) {
    near[k + 1u] = input(b, start + k, c);
  }
//#end
  for (var t = start; t < end; t++) {
    var sum = offset;
//#if SHORT
    for (var k = 0u; k < PAST; k++) {
      near[k] = near[k + 1u];
    }
    near[PAST] = input(b, t + PAST, c);
    for (var k = 0u; k < K; k++) {
      sum += own[k] * near[k];
    }
//#else
    for (var k = 0u; k < K; k++) {
      sum += weight[weightAt + k] * input(b, t + k, c);
    }
//#end
    if (params.silu != 0u) {
      sum = silu(sum);
    }
    out[params.outOffset + (b * params.length + t) * params.outStride + c] = select(0.0, sum, t < real);
  }
//#if WHOLE
  // Ascending, because entry s comes from entry s + real of the old state.
  for (var s = 0u; s < PAST; s++) {
    state[params.stateOffset + (b * PAST + s) * params.channels + c] = input(b, real + s, c);
  }
//#end
}
