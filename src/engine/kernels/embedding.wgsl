// out[t, j] = table[ids[t], j]; an id outside the table gives NaN. One thread an element.
//#include flat
struct Params {
  size: u32,
  columns: u32,
  vocabulary: u32,
  nan: u32,
  outOffset: u32,
  outStride: u32,
  idsOffset: u32,
  tableOffset: u32,
  tableStride: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
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
  // A negative id becomes a large one.
  let id = u32(ids[params.idsOffset + row]);
  var value = bitcast<f32>(params.nan);
  if (id < params.vocabulary) {
    value = table[params.tableOffset + id * params.tableStride + column];
  }
  out[params.outOffset + row * params.outStride + column] = value;
}
