// Maximum over a workgroup of THREADS invocations (a power of two), the same for all of them. Every invocation has to call it.
var<workgroup> maxScratch: array<f32, THREADS>;
fn workgroupMax(value: f32, tid: u32) -> f32 {
  maxScratch[tid] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (tid < width) {
      maxScratch[tid] = max(maxScratch[tid], maxScratch[tid + width]);
    }
    workgroupBarrier();
  }
  let top = maxScratch[0];
  workgroupBarrier();
  return top;
}
