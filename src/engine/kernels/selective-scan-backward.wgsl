// Gradient of the Mamba-1 selective scan over segments of the sequence, from the last tile of STEPS tokens to the first.
//
// With G the gradient of the state h after a token, c what the next token hands back, a = exp(dt·A):
//   G = dy·C + c,   c ← a·G,   dC = dy·h,   dB = G·dt·x,   dx = dt·Σ_n G·B + skip·dy,
//   ddt = x·Σ_n G·B + Σ_n A·G·a·h_before,   dA = Σ_t dt·G·a·h_before,   dy = dOut·silu(z).
//
// Only the state entering every tile was saved (`checkpoints`); a tile's STEPS states are recomputed into registers
// (//#repeat keeps their indices constant). The division of work is that of selective-scan. Sums over the LANES of a channel
// and over the CHANNELS of the workgroup go through workgroup memory every ROUND tokens, always in the same order.
//
// scratch, in this order (one buffer, because adapters bind 16 at most):
//   [batch·length, blocks, 2, PADDED]      dB and dC summed over this workgroup's channels
//   [batch·nSegments, dInner, PADDED]      Σ dt·G·a·h_before (at aParts)
//   [batch·nSegments, 2, dInner]           dDtBias and dSkip (at channelParts)
// START  0: nothing comes from behind the segment, 2: `segments`.
//#include flat
//#include scan-math

struct Params {
  rows: u32, blocks: u32, length: u32, dInner: u32, segment: u32, nSegments: u32, tilesPerRow: u32,
  xOffset: u32, xStride: u32, dtOffset: u32, dtStride: u32, zOffset: u32, zStride: u32,
  BOffset: u32, BStride: u32, COffset: u32, CStride: u32, dOutOffset: u32, dOutStride: u32,
  dXOffset: u32, dXStride: u32, dDtOffset: u32, dDtStride: u32, dZOffset: u32, dZStride: u32,
  aLogOffset: u32, skipOffset: u32, dtBiasOffset: u32, lengthsOffset: u32, checkpointsOffset: u32,
  aParts: u32, channelParts: u32,
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
@group(0) @binding(9) var<storage, read> dOut: array<f32>;
@group(0) @binding(10) var<storage, read> checkpoints: array<vec4f>;
@group(0) @binding(11) var<storage, read> segments: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> dX: array<f32>;
@group(0) @binding(13) var<storage, read_write> dDt: array<f32>;
@group(0) @binding(14) var<storage, read_write> dZ: array<f32>;
@group(0) @binding(15) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(16) var<uniform> p: Params;

const THREADS: u32 = CHANNELS * LANES;
const STATE_VECS: u32 = LANES * VECS;
const PADDED: u32 = 4u * STATE_VECS;
const GATES: u32 = select(1u, ROUND * THREADS, HAS_Z);

// Of every token and channel: step size, step size · x, dy, x.
var<workgroup> steps: array<vec4f, STEPS * CHANNELS>;
var<workgroup> tileB: array<vec4f, STEPS * STATE_VECS>;
var<workgroup> tileC: array<vec4f, STEPS * STATE_VECS>;
// Of every invocation and token of a round: Σ G·B and Σ A·G·a·h over its states; Σ C·h.
var<workgroup> overStates: array<vec2f, ROUND * THREADS>;
var<workgroup> outputs: array<f32, GATES>;
// Of every token of a round, dB then dC: vec4s of states by channel.
var<workgroup> overChannels: array<vec4f, ROUND * 2u * THREADS * VECS>;

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
  var dBiasSum = 0.0f;
  var dSkipSum = 0.0f;

  //#repeat v 0 VECS
  var A2$v = vec4f(0.0f);
  var c$v = vec4f(0.0f);
  var dA$v = vec4f(0.0f);
  var nextH$v = vec4f(0.0f);
  for (var k = 0u; k < 4u; k++) {
    let n = (lane * VECS + $v) * 4u + k;
    if (owned && n < STATES) {
      A2$v[k] = -exp(aLog[p.aLogOffset + d * STATES + n]) * LOG2E;
    }
  }
  if (START == 2u && owned) {
    c$v = segments[(row * p.dInner + d) * STATE_VECS + lane * VECS + $v];
  }
  //#end

  var nextX: array<f32, PER>;
  var nextDt: array<f32, PER>;
  var nextZ: array<f32, PER>;
  var nextG: array<f32, PER>;
  var nextB: array<f32, STATE_PER>;
  var nextC: array<f32, STATE_PER>;

  let tiles = (end - begin + STEPS - 1u) / STEPS;
  for (var i = 0u; i <= tiles; i++) {
    // One round late, as in the forward kernel. first: the tile to compute; behind it in memory lies the one to load.
    let first = begin + (tiles - i) * STEPS;
    var inputs: array<f32, PER>;
    var raws: array<f32, PER>;
    var gates: array<f32, PER>;
    var outs: array<f32, PER>;
    //#repeat copy 0 PER
    {
      const j = $copy;
      raws[j] = nextDt[j] + bias;
      gates[j] = nextZ[j];
      outs[j] = nextG[j];
      inputs[j] = nextX[j];
    }
    //#end
    //#repeat v 0 VECS
    var h$v = nextH$v;
    //#end
    if (i > 0u) {
      //#repeat copy 0 PER
      {
        const j = $copy;
        let inTile = slot + j * LANES;
        var cell = vec4f(0.0f);
        if (first + inTile < min(end, real) && columnOk) {
          let step = clamp(softplus(raws[j]), p.dtLow, p.dtHigh);
          var dy = outs[j];
          if (HAS_Z) {
            dy *= gates[j] * sigmoid(gates[j]);
          }
          cell = vec4f(step, step * inputs[j], dy, inputs[j]);
        }
        steps[inTile * CHANNELS + tid % CHANNELS] = cell;
      }
      //#end
      //#repeat copy 0 STATE_PER
      {
        const j = $copy;
        let e = tid + j * THREADS;
        if (e < STEPS * PADDED) {
          tileB[e / 4u][e % 4u] = nextB[j];
          tileC[e / 4u][e % 4u] = nextC[j];
        }
      }
      //#end
    }
    if (i < tiles) {
      let ahead = first - STEPS;
      //#repeat copy 0 PER
      {
        const j = $copy;
        let t = ahead + slot + j * LANES;
        if (t < min(end, real) && columnOk) {
          let at = b * p.length + t;
          nextX[j] = x[p.xOffset + at * p.xStride + column];
          nextDt[j] = dt[p.dtOffset + at * p.dtStride + column];
          nextG[j] = dOut[p.dOutOffset + at * p.dOutStride + column];
          if (HAS_Z) {
            nextZ[j] = z[p.zOffset + at * p.zStride + column];
          }
        }
      }
      //#end
      //#repeat copy 0 STATE_PER
      {
        const j = $copy;
        let e = tid + j * THREADS;
        let t = ahead + e / PADDED;
        let n = e % PADDED;
        nextB[j] = 0.0f;
        nextC[j] = 0.0f;
        if (e < STEPS * PADDED && t < min(end, real) && n < STATES) {
          nextB[j] = B[p.BOffset + (b * p.length + t) * p.BStride + n];
          nextC[j] = C[p.COffset + (b * p.length + t) * p.CStride + n];
        }
      }
      //#end
      if (owned) {
        let tile = b * p.tilesPerRow + ahead / STEPS;
        //#repeat v 0 VECS
        nextH$v = checkpoints[p.checkpointsOffset / 4u + (tile * p.dInner + d) * STATE_VECS + lane * VECS + $v];
        //#end
      }
    }
    if (i == 0u) {
      continue;
    }
    workgroupBarrier();

    // Forward through the tile: before[t] is the state before token t.
    var before: array<vec4f, STEPS * VECS>;
    //#repeat t 0 STEPS
    {
      const t = $t;
      let s = steps[t * CHANNELS + local];
      //#repeat v 0 VECS
      {
        before[t * VECS + $v] = h$v;
        let e = s.x * A2$v;
        var input = s.y * tileB[t * STATE_VECS + lane * VECS + $v];
        if (ZOH) {
          input *= phi4(e * LN2);
        }
        h$v = fma(exp2(e), h$v, input);
      }
      //#end
    }
    //#end

    // And back, ROUND tokens at a time. h is the state after the token at hand.
    //#repeat round 0 ROUNDS
    {
    const behind = ROUNDS - 1u - $round;
    //#repeat token 0 ROUND
    {
      const R = ROUND - 1u - $token;
      const T = behind * ROUND + R;
      let s = steps[T * CHANNELS + local];
      var sumB = 0.0f;
      var sumA = 0.0f;
      var y = 0.0f;
      //#repeat v 0 VECS
      {
        let tokenB = tileB[T * STATE_VECS + lane * VECS + $v];
        let tokenC = tileC[T * STATE_VECS + lane * VECS + $v];
        let e = s.x * A2$v;
        let a = exp2(e);
        let G = fma(vec4f(s.z), tokenC, c$v);
        let GB = G * tokenB;
        let w = G * a * before[T * VECS + $v];
        var dBn = s.y * G;
        dA$v = fma(vec4f(s.x), w, dA$v);
        if (ZOH) {
          let weight = phi4(e * LN2);
          sumB += dot(GB, weight);
          dBn *= weight;
          dA$v = fma(s.x * s.y * GB, psi4(e * LN2), dA$v);
          sumA += fma(LN2, dot(w, A2$v), s.w * dot(GB, a));
        } else {
          sumB += dot(GB, vec4f(1.0f));
          sumA += LN2 * dot(w, A2$v);
        }
        if (HAS_Z) {
          y += dot(tokenC, h$v);
        }
        overChannels[(R * 2u) * THREADS * VECS + tid * VECS + $v] = dBn;
        overChannels[(R * 2u + 1u) * THREADS * VECS + tid * VECS + $v] = s.z * h$v;
        c$v = a * G;
        h$v = before[T * VECS + $v];
      }
      //#end
      overStates[R * THREADS + tid] = vec2f(sumB, sumA);
      if (HAS_Z) {
        outputs[R * THREADS + tid] = y;
      }
    }
    //#end
    workgroupBarrier();

    // Elements of these tokens: this invocation's own, whose inputs it still holds.
    //#repeat ee 0 EACH
    {
      const J = behind * EACH + $ee;
      let inTile = slot + J * LANES;
      let at = b * p.length + first + inTile;
      if (first + inTile < end && columnOk) {
        var sum = vec2f(0.0f);
        var y = 0.0f;
        let from0 = (inTile % ROUND) * THREADS + (tid % CHANNELS) * LANES;
        for (var k = 0u; k < LANES; k++) {
          sum += overStates[from0 + k];
          if (HAS_Z) {
            y += outputs[from0 + k];
          }
        }
        let s = steps[inTile * CHANNELS + tid % CHANNELS];
        let ok = first + inTile < real;
        dX[p.dXOffset + at * p.dXStride + column] = select(0.0f, fma(s.x, sum.x, skipWeight * s.z), ok);
        var dStep = sum.y;
        if (!ZOH) {
          dStep = fma(s.w, sum.x, dStep);
        }
        let raw = raws[J];
        let stepSize = softplus(raw);
        dStep = select(0.0f, dStep * sigmoid(raw), ok && stepSize >= p.dtLow && stepSize <= p.dtHigh);
        dDt[p.dDtOffset + at * p.dDtStride + column] = dStep;
        dBiasSum += dStep;
        dSkipSum = fma(s.z, s.w, dSkipSum);
        if (HAS_Z && WANT_DZ) {
          let gate = gates[J];
          let sg = sigmoid(gate);
          let dGate = outs[J] * fma(skipWeight, s.w, y) * sg * fma(gate, 1.0f - sg, 1.0f);
          dZ[p.dZOffset + at * p.dZStride + column] = select(0.0f, dGate, ok);
        }
      }
    }
    //#end
    // Sums over channels. Neighbouring runs of 32 invocations start at different channels, so that they meet different banks.
    for (var o = tid; o < ROUND * 2u * PADDED; o += THREADS) {
      let n = o % PADDED;
      let of0 = (o / PADDED) * THREADS * VECS + n / 4u;
      var sum = 0.0f;
      for (var k = 0u; k < CHANNELS; k++) {
        sum += overChannels[of0 + ((k + o / PADDED) % CHANNELS) * STATE_VECS][n % 4u];
      }
      let t = first + behind * ROUND + o / (2u * PADDED);
      if (t < end) {
        scratch[((b * p.length + t) * p.blocks + block) * 2u * PADDED + o % (2u * PADDED)] = sum;
      }
    }
    workgroupBarrier();
    }
    //#end
  }

  if (owned) {
    //#repeat v 0 VECS
    for (var k = 0u; k < 4u; k++) {
      scratch[p.aParts + (row * p.dInner + d) * PADDED + (lane * VECS + $v) * 4u + k] = dA$v[k];
    }
    //#end
  }
  // Each column's elements were spread over LANES invocations.
  overStates[(tid % CHANNELS) * LANES + slot] = vec2f(dBiasSum, dSkipSum);
  workgroupBarrier();
  if (slot == 0u && columnOk) {
    var sum = vec2f(0.0f);
    for (var k = 0u; k < LANES; k++) {
      sum += overStates[tid * LANES + k];
    }
    scratch[p.channelParts + row * 2u * p.dInner + column] = sum.x;
    scratch[p.channelParts + (row * 2u + 1u) * p.dInner + column] = sum.y;
  }
}
