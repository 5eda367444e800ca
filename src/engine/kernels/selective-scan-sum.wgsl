// Second pass of the selective scan's gradients: sums of the parts that workgroups left, in order.
//
//   out[row, column] = Σ_i parts[partsAt + row·rowStep + i·step + column]   (TIMES_A: · A[row, column] = −exp(aLog))
//
// One invocation an element: dB and dC (i: blocks of channels), dALog, dDtBias and dSkip (i: sequences and segments).
//#include flat

struct Params {
  total: u32, columns: u32, rows: u32, step: u32, partsAt: u32, rowStep: u32,
  outOffset: u32, outStride: u32, aLogOffset: u32, aLogStride: u32,
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> aLog: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups) * 128u + tid;
  if (id >= p.total) {
    return;
  }
  let row = id / p.columns;
  let column = id % p.columns;
  let start = p.partsAt + row * p.rowStep + column;
  var sum = 0.0f;
  for (var i = 0u; i < p.rows; i++) {
    sum += parts[start + i * p.step];
  }
  if (TIMES_A) {
    sum *= -exp(aLog[p.aLogOffset + row * p.aLogStride + column]);
  }
  out[p.outOffset + row * p.outStride + column] = sum;
}
