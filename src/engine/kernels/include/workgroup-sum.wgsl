// Sum over a workgroup of THREADS invocations (a power of two), the same for all of them. The tree has a fixed shape,
// so equal inputs give equal bits. Every invocation has to call it.
var<workgroup> sumScratch: array<f32, THREADS>;
fn workgroupSum(value: f32, tid: u32) -> f32 {
  sumScratch[tid] = value;
  workgroupBarrier();
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (tid < width) {
      sumScratch[tid] += sumScratch[tid + width];
    }
    workgroupBarrier();
  }
  let total = sumScratch[0];
  workgroupBarrier();
  return total;
}
