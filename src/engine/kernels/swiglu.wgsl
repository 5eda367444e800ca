// x = [a | b]: out = silu(a)·b. Where BACKWARD, dX = [dOut·b·silu'(a) | dOut·silu(a)]. One thread a column of out.
//#include flat
//#include activation
struct Params {
  size: u32,
  columns: u32,
  outOffset: u32,
  outStride: u32,
  dOutOffset: u32,
  dOutStride: u32,
  xOffset: u32,
  xStride: u32,
}
// out, or dX where BACKWARD
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 256u + lane;
  if (i >= params.size) {
    return;
  }
  let row = i / params.columns;
  let column = i % params.columns;
  let at = params.xOffset + row * params.xStride + column;
  let a = x[at];
  let b = x[at + params.columns];
  let place = params.outOffset + row * params.outStride + column;
//#if BACKWARD
  let d = dOut[params.dOutOffset + row * params.dOutStride + column];
  out[place] = d * b * siluSlope(a);
  out[place + params.columns] = d * silu(a);
//#else
  out[place] = silu(a) * b;
//#end
}
