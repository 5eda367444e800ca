// state[s] = input at time length − (K−1) + s, for s < K−1 (see conv.wgsl): what the next call needs of this one.
// One thread a channel; ascending, because an entry may come from a later entry of the old state.
//#include flat
struct Params {
  batch: u32,
  length: u32,
  channels: u32,
  past: u32,
  hasLengths: u32,
  xOffset: u32,
  xStride: u32,
  stateOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> state: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 64u + lane;
  let c = i % params.channels;
  let b = i / params.channels;
  if (b >= params.batch) {
    return;
  }
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  for (var s = 0u; s < params.past; s++) {
    let t = real + s;
    var value: f32;
    if (t >= params.past) {
      value = x[params.xOffset + (b * params.length + t - params.past) * params.xStride + c];
    } else {
      value = state[params.stateOffset + (b * params.past + t) * params.channels + c];
    }
    state[params.stateOffset + (b * params.past + s) * params.channels + c] = value;
  }
}
