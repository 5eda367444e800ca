// Mamba-1 selective scan, forward, over segments of the sequence.
//
//   x, dt, z, out [batch, length, dInner] · B, C [batch, length, dState] · aLog [dInner, dState]
//   h ← exp(dt·A)·h + dt·B·x;   y = Σ_n C·h + skip·x;   out = y·silu(z)
//
// A workgroup owns CHANNELS channels of one sequence and walks one segment in tiles of STEPS tokens. LANES invocations
// share a channel, each with 4·VECS states in registers, so that a GPU is full from a few thousand channels on without
// cutting the sequence. Step sizes and inputs are prepared once per element while a tile is staged (neighbouring
// invocations read neighbouring channels); the partial sums of y meet in workgroup memory and leave the same way.
// The next tile is loaded into registers while this one is computed.
//
// Where that is too little parallel work the sequence is cut: a first pass (OUT = false) leaves every segment's end
// state from zero and its Σ dt, selective-scan-carry turns these into the states that enter the segments, and this
// kernel runs again from them.
//
// START  0: zeros, 1: `state`, 2: `segments`.   END  0: nothing, 1: `state`, 2: `segments` and `sums`.
//#include flat
//#include scan-math

struct Params {
  rows: u32, blocks: u32, length: u32, dInner: u32, segment: u32, nSegments: u32, tilesPerRow: u32,
  xOffset: u32, xStride: u32, dtOffset: u32, dtStride: u32, zOffset: u32, zStride: u32,
  BOffset: u32, BStride: u32, COffset: u32, CStride: u32, outOffset: u32, outStride: u32,
  aLogOffset: u32, skipOffset: u32, dtBiasOffset: u32, lengthsOffset: u32, stateOffset: u32, checkpointsOffset: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dt: array<f32>;
@group(0) @binding(2) var<storage, read> aLog: array<f32>;
@group(0) @binding(3) var<storage, read> B: array<f32>;
@group(0) @binding(4) var<storage, read> C: array<f32>;
@group(0) @binding(5) var<storage, read> z: array<f32>;
@group(0) @binding(6) var<storage, read> skip: array<f32>;
@group(0) @binding(7) var<storage, read> dtBias: array<f32>;
@group(0) @binding(8) var<storage, read> lengths: array<i32>;
@group(0) @binding(9) var<storage, read_write> out: array<f32>;
@group(0) @binding(10) var<storage, read_write> state: array<f32>;
@group(0) @binding(11) var<storage, read_write> checkpoints: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> segments: array<vec4f>;
@group(0) @binding(13) var<storage, read_write> sums: array<f32>;
@group(0) @binding(14) var<uniform> p: Params;

const THREADS: u32 = CHANNELS * LANES;
// vec4s of padded states a channel, elements of a tile an invocation stages, and likewise of B and C.
const STATE_VECS: u32 = LANES * VECS;
const PADDED: u32 = 4u * STATE_VECS;

var<workgroup> steps: array<vec2f, STEPS * CHANNELS>;
var<workgroup> tileB: array<vec4f, STEPS * STATE_VECS>;
var<workgroup> tileC: array<vec4f, STEPS * STATE_VECS>;
var<workgroup> parts: array<f32, STEPS * THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  let row = id / p.blocks;
  let block = id % p.blocks;
  if (row >= p.rows) {
    return;
  }
  let b = row / p.nSegments;
  let begin = (row % p.nSegments) * p.segment;
  let end = min(begin + p.segment, p.length);
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }

  // As stager and writer: one column of the tile. As computer: one channel, one group of states.
  let column = block * CHANNELS + tid % CHANNELS;
  let columnOk = column < p.dInner;
  let slot = tid / CHANNELS;
  let lane = tid % LANES;
  let local = tid / LANES;
  let d = block * CHANNELS + local;
  let owned = d < p.dInner;

  var bias = 0.0f;
  if (HAS_BIAS && columnOk) {
    bias = dtBias[p.dtBiasOffset + column];
  }
  var skipWeight = 0.0f;
  if (HAS_SKIP && columnOk) {
    skipWeight = skip[p.skipOffset + column];
  }

  var A2: array<vec4f, VECS>;
  var h: array<vec4f, VECS>;
  for (var v = 0u; v < VECS; v++) {
    A2[v] = vec4f(0.0f);
    h[v] = vec4f(0.0f);
    for (var k = 0u; k < 4u; k++) {
      let n = (lane * VECS + v) * 4u + k;
      if (owned && n < STATES) {
        A2[v][k] = -exp(aLog[p.aLogOffset + d * STATES + n]) * LOG2E;
        if (START == 1u) {
          h[v][k] = state[p.stateOffset + (b * p.dInner + d) * STATES + n];
        }
      }
    }
    if (START == 2u && owned) {
      h[v] = segments[(row * p.dInner + d) * STATE_VECS + lane * VECS + v];
    }
  }
  var sum = 0.0f;

  var nextX: array<f32, PER>;
  var nextDt: array<f32, PER>;
  var nextZ: array<f32, PER>;
  var nextB: array<f32, STATE_PER>;
  var nextC: array<f32, STATE_PER>;

  for (var start = begin; start < end + STEPS; start += STEPS) {
    var inputs: array<f32, PER>;
    var gates: array<f32, PER>;
    // One round late: stage and compute what the round before has loaded.
    //#repeat copy 0 PER
    {
      const j = $copy;
      inputs[j] = nextX[j];
      gates[j] = nextZ[j];
    }
    //#end
    if (start > begin) {
      //#repeat copy 0 PER
      {
        const j = $copy;
        let t = start - STEPS + slot + j * LANES;
        let ok = t < real && columnOk;
        let step = select(0.0f, clamp(softplus(nextDt[j] + bias), p.dtLow, p.dtHigh), ok);
        steps[(slot + j * LANES) * CHANNELS + tid % CHANNELS] = vec2f(step, select(0.0f, step * inputs[j], ok));
      }
      //#end
      //#repeat copy 0 STATE_PER
      {
        const j = $copy;
        let e = tid + j * THREADS;
        if (e < STEPS * PADDED) {
          tileB[e / 4u][e % 4u] = nextB[j];
          if (OUT) {
            tileC[e / 4u][e % 4u] = nextC[j];
          }
        }
      }
      //#end
    }
    //#repeat copy 0 PER
    {
      const j = $copy;
      let t = start + slot + j * LANES;
      if (t < min(end, real) && columnOk) {
        let at = b * p.length + t;
        nextX[j] = x[p.xOffset + at * p.xStride + column];
        nextDt[j] = dt[p.dtOffset + at * p.dtStride + column];
        if (HAS_Z && OUT) {
          nextZ[j] = z[p.zOffset + at * p.zStride + column];
        }
      }
    }
    //#end
    //#repeat copy 0 STATE_PER
    {
      const j = $copy;
      let e = tid + j * THREADS;
      let t = start + e / PADDED;
      let n = e % PADDED;
      nextB[j] = 0.0f;
      nextC[j] = 0.0f;
      if (e < STEPS * PADDED && t < min(end, real) && n < STATES) {
        nextB[j] = B[p.BOffset + (b * p.length + t) * p.BStride + n];
        if (OUT) {
          nextC[j] = C[p.COffset + (b * p.length + t) * p.CStride + n];
        }
      }
    }
    //#end
    if (start == begin) {
      continue;
    }
    workgroupBarrier();

    let first = start - STEPS;
    if (SAVE && owned) {
      let tile = b * p.tilesPerRow + first / STEPS;
      for (var v = 0u; v < VECS; v++) {
        checkpoints[p.checkpointsOffset / 4u + (tile * p.dInner + d) * STATE_VECS + lane * VECS + v] = h[v];
      }
    }
    for (var t = 0u; t < STEPS; t++) {
      let s = steps[t * CHANNELS + local];
      var y = 0.0f;
      for (var v = 0u; v < VECS; v++) {
        let e = s.x * A2[v];
        var input = s.y * tileB[t * STATE_VECS + lane * VECS + v];
        if (ZOH) {
          input *= phi4(e * LN2);
        }
        h[v] = fma(exp2(e), h[v], input);
        if (OUT) {
          y += dot(tileC[t * STATE_VECS + lane * VECS + v], h[v]);
        }
      }
      if (OUT) {
        parts[t * THREADS + tid] = y;
      }
      if (END == 2u) {
        sum += s.x;
      }
    }
    workgroupBarrier();

    if (OUT) {
      //#repeat copy 0 PER
      {
        const j = $copy;
        let inTile = slot + j * LANES;
        let t = first + inTile;
        if (t < end && columnOk) {
          var y = 0.0f;
          for (var k = 0u; k < LANES; k++) {
            y += parts[inTile * THREADS + (tid % CHANNELS) * LANES + k];
          }
          y = fma(skipWeight, inputs[j], y);
          if (HAS_Z) {
            y *= gates[j] * sigmoid(gates[j]);
          }
          out[p.outOffset + (b * p.length + t) * p.outStride + column] = select(0.0f, y, t < real);
        }
      }
      //#end
    }
  }

  if (owned) {
    for (var v = 0u; v < VECS; v++) {
      if (END == 2u) {
        segments[(row * p.dInner + d) * STATE_VECS + lane * VECS + v] = h[v];
      }
      if (END == 1u) {
        for (var k = 0u; k < 4u; k++) {
          let n = (lane * VECS + v) * 4u + k;
          if (n < STATES) {
            state[p.stateOffset + (b * p.dInner + d) * STATES + n] = h[v][k];
          }
        }
      }
    }
    if (END == 2u && lane == 0u) {
      sums[row * p.dInner + d] = sum;
    }
  }
}
