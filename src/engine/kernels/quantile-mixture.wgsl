// The forecaster's head and its loss, a workgroup per token, a thread per step p of its patch:
//   y[q] = Σ_c softmax(mix)[c]·candidates[p,c] + exp(clamp(scale, −4, 4))·offset[q],
//   loss = weights[p]·(2/Q)·Σ_q max(q·e, (q − 1)·e),  e = asinh(target[p]) − asinh(y[q]).
// raw [T, P·Q + P·C + 1] = offsets (p-major) | mix (p-major) | scale. partial[t] is the token's loss. HAS_QUANTILES, HAS_LOSS
// and GRADIENT say what is wanted. COUNT = Q, CANDIDATES = C.
//#include flat
//#include workgroup-sum
//#include activation
struct Params {
  rows: u32,
  patchSize: u32,
  quantilesOffset: u32,
  quantilesStride: u32,
  dRawOffset: u32,
  dRawStride: u32,
  rawOffset: u32,
  rawStride: u32,
  candidatesOffset: u32,
  candidatesStride: u32,
  levelsOffset: u32,
  goalOffset: u32,
  goalStride: u32,
  weightsOffset: u32,
  weightsStride: u32,
}
@group(0) @binding(0) var<storage, read_write> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> quantiles: array<f32>;
@group(0) @binding(2) var<storage, read_write> dRaw: array<f32>;
@group(0) @binding(3) var<storage, read> raw: array<f32>;
@group(0) @binding(4) var<storage, read> candidates: array<f32>;
@group(0) @binding(5) var<storage, read> levels: array<f32>;
@group(0) @binding(6) var<storage, read> goal: array<f32>;
@group(0) @binding(7) var<storage, read> weights: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = flatWorkgroup(workgroup, groups);
  if (t >= params.rows) {
    return;
  }
  let rawAt = params.rawOffset + t * params.rawStride;
  let dRawAt = params.dRawOffset + t * params.dRawStride;
  let mixFrom = params.patchSize * COUNT;
  let scaleAt = mixFrom + params.patchSize * CANDIDATES;
  let rawScale = raw[rawAt + scaleAt];
  let scale = exp(clamp(rawScale, -4.0, 4.0));
  var loss = 0.0;
  var dScale = 0.0;
  for (var p = lane; p < params.patchSize; p += THREADS) {
    let mixAt = rawAt + mixFrom + p * CANDIDATES;
    let choiceAt = params.candidatesOffset + t * params.candidatesStride + p * CANDIDATES;
    var top = raw[mixAt];
    for (var c = 1u; c < CANDIDATES; c++) {
      top = max(top, raw[mixAt + c]);
    }
    var total = 0.0;
    var base = 0.0;
    for (var c = 0u; c < CANDIDATES; c++) {
      let share = exp(raw[mixAt + c] - top);
      total += share;
      base += share * candidates[choiceAt + c];
    }
    base /= total;
    var weight = 0.0;
    var wanted = 0.0;
//#if HAS_LOSS
    weight = weights[params.weightsOffset + t * params.weightsStride + p] * 2.0 / f32(COUNT);
    if (weight != 0.0) {
      wanted = asinhStable(goal[params.goalOffset + t * params.goalStride + p]);
    }
//#end
    var dBase = 0.0;
    for (var q = 0u; q < COUNT; q++) {
      let shift = scale * raw[rawAt + p * COUNT + q];
      let y = base + shift;
//#if HAS_QUANTILES
      quantiles[params.quantilesOffset + t * params.quantilesStride + p * COUNT + q] = y;
//#end
//#if HAS_LOSS
      var dY = 0.0;
      if (weight != 0.0) {
        let level = levels[params.levelsOffset + q];
        let error = wanted - asinhStable(y);
        loss += weight * max(level * error, (level - 1.0) * error);
        dY = weight * select(select(0.0, 1.0 - level, error < 0.0), -level, error > 0.0) * asinhSlope(y);
      }
      dBase += dY;
      dScale += dY * shift;
//#if GRADIENT
      dRaw[dRawAt + p * COUNT + q] = dY * scale;
//#end
//#end
    }
//#if GRADIENT
    for (var c = 0u; c < CANDIDATES; c++) {
      let share = exp(raw[mixAt + c] - top) / total;
      dRaw[dRawAt + mixFrom + p * CANDIDATES + c] = dBase * share * (candidates[choiceAt + c] - base);
    }
//#end
  }
//#if HAS_LOSS
  loss = workgroupSum(loss, lane);
  dScale = workgroupSum(dScale, lane);
  if (lane == 0u) {
    partial[t] = loss;
//#if GRADIENT
    dRaw[dRawAt + scaleAt] = select(0.0, dScale, abs(rawScale) < 4.0);
//#end
  }
//#end
}
