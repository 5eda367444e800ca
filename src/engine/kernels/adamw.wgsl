// AdamW (Loshchilov & Hutter 2019, algorithm 2) over a flat arena, one thread an element; see AdamWArgs for hyper.
// Nothing is written when the sum of squared gradients is not finite.
//#include flat
struct Params {
  size: u32,
  decayEnd: u32,
  parametersOffset: u32,
  gradientsOffset: u32,
  mOffset: u32,
  vOffset: u32,
  hyperOffset: u32,
  gradScaleOffset: u32,
  sumSquaresOffset: u32,
  averageOffset: u32,
  averageRateOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(1) var<storage, read_write> m: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> average: array<f32>;
@group(0) @binding(4) var<storage, read> gradients: array<f32>;
@group(0) @binding(5) var<storage, read> hyper: array<f32>;
@group(0) @binding(6) var<storage, read> gradScale: array<f32>;
@group(0) @binding(7) var<storage, read> sumSquares: array<f32>;
@group(0) @binding(8) var<storage, read> averageRate: array<f32>;
@group(0) @binding(9) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 256u + lane;
  let squares = sumSquares[params.sumSquaresOffset];
  // Infinite or NaN by its exponent: compilers may assume that arithmetic meets neither.
  if (i >= params.size || (bitcast<u32>(squares) & 0x7f800000u) == 0x7f800000u) {
    return;
  }
  let at = params.hyperOffset;
  let rate = hyper[at];
  let beta1 = hyper[at + 1u];
  let beta2 = hyper[at + 2u];
  let eps = hyper[at + 3u];
  let clip = hyper[at + 7u];
  let divisor = gradScale[params.gradScaleOffset];
  let norm = sqrt(squares) / divisor;
  var scale = 1.0 / divisor;
  if (clip > 0.0 && norm > clip) {
    scale *= clip / norm;
  }
  let gradient = gradients[params.gradientsOffset + i] * scale;
  let first = beta1 * m[params.mOffset + i] + (1.0 - beta1) * gradient;
  let second = beta2 * v[params.vOffset + i] + (1.0 - beta2) * gradient * gradient;
  m[params.mOffset + i] = first;
  v[params.vOffset + i] = second;
  var value = parameters[params.parametersOffset + i];
  if (i < params.decayEnd) {
    value *= 1.0 - rate * hyper[at + 4u];
  }
  value -= rate * (first / hyper[at + 5u]) / (sqrt(second / hyper[at + 6u]) + eps);
  parameters[params.parametersOffset + i] = value;
//#if AVERAGE
  let mean = average[params.averageOffset + i];
  average[params.averageOffset + i] = mean + averageRate[params.averageRateOffset] * (value - mean);
//#end
}
