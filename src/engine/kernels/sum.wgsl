// out[g] = Σ over part g of x (SQUARES: of x²), x rows × columns with any row stride. Run with one part for the total;
// with more, run again over the parts.
//#include flat
//#include workgroup-sum
struct Params {
  size: u32,
  columns: u32,
  part: u32,
  parts: u32,
  valuesOffset: u32,
  valuesStride: u32,
  outOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) tid: u32,
) {
  let g = flatWorkgroup(workgroup, groups);
  let first = g * params.part;
  let to = min(first + params.part, params.size);
  var sum = 0.0;
  for (var i = first + tid; i < to; i += THREADS) {
    let row = i / params.columns;
    let v = values[params.valuesOffset + row * params.valuesStride + (i - row * params.columns)];
    sum += select(v, v * v, SQUARES);
  }
  let total = workgroupSum(sum, tid);
  if (tid == 0u && g < params.parts) {
    out[params.outOffset + g] = total;
  }
}
