// A workgroup per row: partial[t] = weights[t]·(logsumexp(logits[t]) − logits[t, targets[t]]), and its gradient
// weights[t]·(softmax − one-hot) where GRADIENT. A row of weight 0 counts nothing, whatever its logits.
//#include flat
//#include workgroup-sum
//#include workgroup-max
struct Params {
  rows: u32,
  columns: u32,
  dLogitsOffset: u32,
  dLogitsStride: u32,
  logitsOffset: u32,
  logitsStride: u32,
  targetsOffset: u32,
  weightsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dLogits: array<f32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<i32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flatWorkgroup(workgroup, groups);
  if (row >= params.rows) {
    return;
  }
  let weight = weights[params.weightsOffset + row];
  let at = params.logitsOffset + row * params.logitsStride;
  let goal = u32(targets[params.targetsOffset + row]);
  var top = -3.4e38;
  for (var j = lane; j < params.columns; j += THREADS) {
    top = max(top, logits[at + j]);
  }
  top = workgroupMax(top, lane);
  var total = 0.0;
  var hit = 0.0;
  for (var j = lane; j < params.columns; j += THREADS) {
    total += exp(logits[at + j] - top);
    if (j == goal) {
      hit = logits[at + j];
    }
  }
  total = workgroupSum(total, lane);
  hit = workgroupSum(hit, lane);
  if (lane == 0u) {
    partial[row] = select(weight * (top + log(total) - hit), 0.0, weight == 0.0);
  }
//#if GRADIENT
  for (var j = lane; j < params.columns; j += THREADS) {
    let slope = exp(logits[at + j] - top) / total - select(0.0, 1.0, j == goal);
    dLogits[params.dLogitsOffset + row * params.dLogitsStride + j] = select(weight * slope, 0.0, weight == 0.0);
  }
//#end
}
