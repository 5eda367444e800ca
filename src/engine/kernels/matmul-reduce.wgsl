// Second pass of a product split over K: adds the partials [splits, M, N] in order and applies the epilogue.
//#include flat
//#include matmul-epilogue
struct Params {
  M: u32,
  N: u32,
  splits: u32,
  outOffset: u32,
  outStride: u32,
  residualOffset: u32,
  residualStride: u32,
  biasOffset: u32,
  flags: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<OUT>;
@group(0) @binding(1) var<storage, read> partial: array<PARTIAL>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<RESIDUAL>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let quads = (params.N + 3u) / 4u;
  let i = flatWorkgroup(workgroup, groups) * 64u + lane;
  if (i >= params.M * quads) {
    return;
  }
  let row = i / quads;
  let column = (i % quads) * 4u;
  var sum = vec4<f32>(0.0);
  for (var z = 0u; z < params.splits; z++) {
    let at = (z * params.M + row) * params.N + column;
//#if VEC_PARTIAL
    sum += partial[at / 4u];
//#else
//#repeat c 0 4
    if (column + $c < params.N) { sum[$c] += partial[at + $c]; }
//#end
//#end
  }
  store(row, column, sum, 0u);
}
