// RMS norm of rows, or of groups of a row's columns: out = g / sqrt(mean(g²) + eps) · weight, with g = x, or x·silu(z) if
// GATED. One workgroup a row and group, which keeps its values in registers.
//#include flat
//#include activation
//#include workgroup-sum
struct Params {
  rows: u32,
  width: u32,
  nGroups: u32,
  eps: f32,
  outOffset: u32,
  outStride: u32,
  inputOffset: u32,
  inputStride: u32,
  gateOffset: u32,
  gateStride: u32,
  weightOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn gated(row: u32, column: u32) -> f32 {
  var g = input[params.inputOffset + row * params.inputStride + column];
  if (GATED) {
    g *= silu(gate[params.gateOffset + row * params.gateStride + column]);
  }
  return g;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(workgroup, groups);
  let row = id / params.nGroups;
  let first = (id % params.nGroups) * params.width;
  if (row >= params.rows) {
    return;
  }
  var kept: array<f32, PER>;
  var squares = 0.0;
  for (var k = 0u; k < PER; k++) {
    let j = tid + k * THREADS;
    if (j < params.width) {
      kept[k] = gated(row, first + j);
      squares += kept[k] * kept[k];
    }
  }
  let scale = inverseSqrt(workgroupSum(squares, tid) / f32(params.width) + params.eps);
  for (var k = 0u; k < PER; k++) {
    let j = tid + k * THREADS;
    if (j < params.width) {
      out[params.outOffset + row * params.outStride + first + j] = kept[k] * scale * weight[params.weightOffset + first + j];
    }
  }
}
