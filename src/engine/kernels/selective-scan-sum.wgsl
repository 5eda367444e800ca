// Second pass of the selective scan's gradients: sums of the parts that workgroups left, in order.
//
//   out[row, column] = Σ_i parts[partsAt + row·rowStep + i·step + column]   (TIMES_A: · A[row, column] = −exp(aLog))
//
// for dB and dC (i: blocks of channels), dALog, dDtBias and dSkip (i: sequences, segments, chunks). A workgroup takes ELEMENTS
// elements; SPLIT invocations share the terms of one, and their sums are added in order.
//#include flat

struct Params {
  total: u32, columns: u32, rows: u32, step: u32, partsAt: u32, rowStep: u32,
  outOffset: u32, outStride: u32, aLogOffset: u32, aLogStride: u32,
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> aLog: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> sums: array<f32, ELEMENTS * SPLIT>;

@compute @workgroup_size(ELEMENTS * SPLIT)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups) * ELEMENTS + tid % ELEMENTS;
  let row = id / p.columns;
  let column = id % p.columns;
  var sum = 0.0f;
  if (id < p.total) {
    let start = p.partsAt + row * p.rowStep + column;
    for (var i = tid / ELEMENTS; i < p.rows; i += SPLIT) {
      sum += parts[start + i * p.step];
    }
  }
  if (SPLIT > 1u) {
    sums[tid] = sum;
    workgroupBarrier();
    for (var i = 1u; i < SPLIT && tid < ELEMENTS; i++) {
      sum += sums[i * ELEMENTS + tid];
    }
  }
  if (tid < ELEMENTS && id < p.total) {
    if (TIMES_A) {
      sum *= -exp(aLog[p.aLogOffset + row * p.aLogStride + column]);
    }
    out[p.outOffset + row * p.outStride + column] = sum;
  }
}
