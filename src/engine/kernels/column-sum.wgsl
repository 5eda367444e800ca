// out[part, c] = Σ over the part's rows of x[row, c] (+ out, if ACCUMULATE): 64 columns a workgroup, ROWS invocations a
// column. Run with one part for the total; with more, run again over the parts.
struct Params {
  rows: u32,
  columns: u32,
  part: u32,
  valuesOffset: u32,
  valuesStride: u32,
  outOffset: u32,
  outStride: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> sums: array<f32, 64u * ROWS>;

@compute @workgroup_size(64, ROWS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = workgroup.x * 64u + local.x;
  let first = workgroup.y * params.part;
  let to = min(first + params.part, params.rows);
  var sum = 0.0;
  if (column < params.columns) {
    for (var row = first + local.y; row < to; row += ROWS) {
      sum += values[params.valuesOffset + row * params.valuesStride + column];
    }
  }
  sums[local.y * 64u + local.x] = sum;
  workgroupBarrier();
  if (local.y == 0u && column < params.columns) {
    for (var i = 1u; i < ROWS; i++) {
      sum += sums[i * 64u + local.x];
    }
    let at = params.outOffset + workgroup.y * params.outStride + column;
    if (ACCUMULATE) {
      sum += out[at];
    }
    out[at] = sum;
  }
}
