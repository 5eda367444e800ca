// Backward of rms-norm.wgsl. With s = (mean(g²) + eps)^−½ and d the upstream gradient of one row and group:
//   dg = s·(d·w − g·s²·mean(d·w·g));   dWeight = Σ_rows d·g·s
//   plain: dX = dg (+ dX, if ACCUMULATE);   GATED: dX = dg·silu(z), dZ = dg·x·silu′(z)
// A workgroup takes `part` rows of one group one after another and leaves their share of dWeight in partial[workgroup].
//#include activation
//#include workgroup-sum
struct Params {
  rows: u32,
  width: u32,
  part: u32,
  totalWidth: u32,
  eps: f32,
  upstreamOffset: u32,
  upstreamStride: u32,
  inputOffset: u32,
  inputStride: u32,
  gateOffset: u32,
  gateStride: u32,
  weightOffset: u32,
  dInputOffset: u32,
  dInputStride: u32,
  dGateOffset: u32,
  dGateStride: u32,
}
@group(0) @binding(0) var<storage, read> upstream: array<f32>;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dInput: array<f32>;
@group(0) @binding(5) var<storage, read_write> dGate: array<f32>;
@group(0) @binding(6) var<storage, read_write> partial: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) tid: u32) {
  let base = workgroup.y * params.width;
  let first = workgroup.x * params.part;
  let to = min(first + params.part, params.rows);
  var w: array<f32, PER>;
  var dWeight: array<f32, PER>;
  for (var k = 0u; k < PER; k++) {
    let j = tid + k * THREADS;
    dWeight[k] = 0.0;
    w[k] = 0.0;
    if (j < params.width) {
      w[k] = weight[params.weightOffset + base + j];
    }
  }
  for (var row = first; row < to; row++) {
    var raw: array<f32, PER>;
    var z: array<f32, PER>;
    var g: array<f32, PER>;
    var d: array<f32, PER>;
    var squares = 0.0;
    var products = 0.0;
    for (var k = 0u; k < PER; k++) {
      let j = tid + k * THREADS;
      raw[k] = 0.0;
      z[k] = 0.0;
      g[k] = 0.0;
      d[k] = 0.0;
      if (j < params.width) {
        raw[k] = input[params.inputOffset + row * params.inputStride + base + j];
        d[k] = upstream[params.upstreamOffset + row * params.upstreamStride + base + j];
        g[k] = raw[k];
        if (GATED) {
          z[k] = gate[params.gateOffset + row * params.gateStride + base + j];
          g[k] *= silu(z[k]);
        }
      }
      squares += g[k] * g[k];
      products += d[k] * w[k] * g[k];
    }
    let scale = inverseSqrt(workgroupSum(squares, tid) / f32(params.width) + params.eps);
    let mean = workgroupSum(products, tid) / f32(params.width);
    for (var k = 0u; k < PER; k++) {
      let j = tid + k * THREADS;
      if (j < params.width) {
        // A single column leaves only the part of eps, which the difference would lose to cancellation.
        let several = scale * (d[k] * w[k] - g[k] * scale * scale * mean);
        let dg = select(several, scale * scale * scale * params.eps * d[k] * w[k], params.width == 1u);
        dWeight[k] += d[k] * g[k] * scale;
        let at = params.dInputOffset + row * params.dInputStride + base + j;
        if (GATED) {
          dInput[at] = dg * silu(z[k]);
          dGate[params.dGateOffset + row * params.dGateStride + base + j] = dg * raw[k] * siluSlope(z[k]);
        } else if (ACCUMULATE) {
          dInput[at] += dg;
        } else {
          dInput[at] = dg;
        }
      }
    }
  }
  for (var k = 0u; k < PER; k++) {
    let j = tid + k * THREADS;
    if (j < params.width) {
      partial[workgroup.x * params.totalWidth + base + j] = dWeight[k];
    }
  }
}
