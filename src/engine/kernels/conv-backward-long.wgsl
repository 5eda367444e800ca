// Gradient of conv.wgsl for any K, in three launches (see conv-backward.wgsl for p):
//   MODE 0: p[t,c], into `out` [batch·length, channels];   MODE 1: dX[t,c], into `out`;
//   MODE 2: partial[block, C·K | C] of the weights' gradient over `steps` of the batch × length rows, into `out`.
//#include flat
//#include activation
struct Params {
  size: u32,
  length: u32,
  channels: u32,
  K: u32,
  rows: u32,
  steps: u32,
  hasBias: u32,
  hasLengths: u32,
  silu: u32,
  outOffset: u32,
  outStride: u32,
  pOffset: u32,
  pStride: u32,
  xOffset: u32,
  xStride: u32,
  weightOffset: u32,
  weightStride: u32,
  biasOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
// dOut in mode 0
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<i32>;
@group(0) @binding(6) var<uniform> params: Params;

fn slope(row: u32, c: u32) -> f32 {
  if (params.silu == 0u) {
    return 1.0;
  }
  let t = row % params.length;
  var y = 0.0;
  if (params.hasBias != 0u) {
    y = bias[params.biasOffset + c];
  }
  for (var back = 0u; back < min(params.K, t + 1u); back++) {
    let k = params.K - 1u - back;
    y += weight[params.weightOffset + c * params.weightStride + k] * x[params.xOffset + (row - back) * params.xStride + c];
  }
  return siluSlope(y);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 64u + lane;
  if (i >= params.size) {
    return;
  }
  if (MODE < 2u) {
    let row = i / params.channels;
    let c = i % params.channels;
    let t = row % params.length;
    var value = 0.0;
    if (MODE == 0u) {
      var real = params.length;
      if (params.hasLengths != 0u) {
        real = u32(clamp(lengths[params.lengthsOffset + row / params.length], 0, i32(params.length)));
      }
      if (t < real) {
        value = p[params.pOffset + row * params.pStride + c] * slope(row, c);
      }
    } else {
      for (var ahead = 0u; ahead < min(params.K, params.length - t); ahead++) {
        let k = params.K - 1u - ahead;
        value += weight[params.weightOffset + c * params.weightStride + k]
          * p[params.pOffset + (row + ahead) * params.pStride + c];
      }
    }
    out[params.outOffset + row * params.outStride + c] = value;
    return;
  }
  let width = params.channels * (params.K + 1u);
  let block = i / width;
  let column = i % width;
  let isBias = column >= params.channels * params.K;
  let c = select(column / params.K, column - params.channels * params.K, isBias);
  let back = params.K - 1u - column % params.K;
  var sum = 0.0;
  for (var row = block * params.steps; row < min(params.rows, (block + 1u) * params.steps); row++) {
    var factor = 1.0;
    if (!isBias) {
      if (row % params.length < back) {
        continue;
      }
      factor = x[params.xOffset + (row - back) * params.xStride + c];
    }
    sum += p[params.pOffset + row * params.pStride + c] * factor;
  }
  out[params.outOffset + i] = sum;
}
