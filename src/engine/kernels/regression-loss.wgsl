// Mean squared error (PINBALL false) or quantile loss over rows × columns:
//   weights[t]/columns·(prediction − target)²,   or   weights[t]·2/columns·max(q·e, (q − 1)·e) with e = target − prediction.
// Each workgroup leaves the sum of its elements in partial; the gradient is written where GRADIENT. Weight 0 counts nothing.
//#include flat
//#include workgroup-sum
struct Params {
  size: u32,
  columns: u32,
  dPredictionOffset: u32,
  dPredictionStride: u32,
  predictionOffset: u32,
  predictionStride: u32,
  targetsOffset: u32,
  targetsStride: u32,
  weightsOffset: u32,
  levelsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dPrediction: array<f32>;
@group(0) @binding(2) var<storage, read> prediction: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read> levels: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let number = flatWorkgroup(workgroup, groups);
  let i = number * THREADS + lane;
  var loss = 0.0;
  if (i < params.size) {
    let row = i / params.columns;
    let column = i % params.columns;
    let weight = weights[params.weightsOffset + row] / f32(params.columns);
    let guess = prediction[params.predictionOffset + row * params.predictionStride + column];
    var slope = 0.0;
    if (weight != 0.0) {
//#if PINBALL
      let error = targets[params.targetsOffset + row * params.targetsStride] - guess;
      let level = levels[params.levelsOffset + column];
      loss = 2.0 * weight * max(level * error, (level - 1.0) * error);
      slope = 2.0 * weight * select(select(0.0, 1.0 - level, error < 0.0), -level, error > 0.0);
//#else
      let error = guess - targets[params.targetsOffset + row * params.targetsStride + column];
      loss = weight * error * error;
      slope = 2.0 * weight * error;
//#end
    }
//#if GRADIENT
    dPrediction[params.dPredictionOffset + row * params.dPredictionStride + column] = slope;
//#end
  }
  let sum = workgroupSum(loss, lane);
  if (lane == 0u && number * THREADS < params.size) {
    partial[number] = sum;
  }
}
