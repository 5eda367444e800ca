// SSD gradient, last step: of dt, and a chunk's share of those of A and of the bias.
//
// With a_j = dt_j·A the decay at token j, the decay from k to t is Σ_{k<j≤t} a_j, so that
//   da_j = Σ_{k<j≤t} W[t, k] + Σ_{t≥j} arrivals_t + Σ_{k<j} weight_k·viaEnd_k + link
//   ddt_j = A·da_j + dweight_j·(∂weight/∂dt),   dA = Σ_j dt_j·da_j + dweight_j·(∂weight/∂A)
//
// A workgroup per (sequence, chunk, head), an invocation a token.
//   edges [batch, nChunks, nHeads, pairs, 2, TM] · rowSums [batch, nChunks, nHeads, rowTiles, CHUNK] vec2
//   arrivals [batch, nChunks, nHeads, arrivalTiles, CHUNK] · links [batch, nChunks, nHeads]
//   shares [batch, nChunks, 2, nHeads]: of dA, of dDtBias
//#include flat
//#include scan-math
//#include ssd-pair

struct Params {
  total: u32, length: u32, nChunks: u32, nHeads: u32, pairs: u32, rowTiles: u32, arrivalTiles: u32,
  dtOffset: u32, dtStride: u32, aLogOffset: u32, dtBiasOffset: u32, lengthsOffset: u32, dDtOffset: u32, dDtStride: u32,
  dtLow: f32, dtHigh: f32,
}

@group(0) @binding(0) var<storage, read> dt: array<f32>;
@group(0) @binding(1) var<storage, read> aLog: array<f32>;
@group(0) @binding(2) var<storage, read> dtBias: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read> decay: array<vec4f>;
@group(0) @binding(5) var<storage, read> edges: array<f32>;
@group(0) @binding(6) var<storage, read> rowSums: array<vec2f>;
@group(0) @binding(7) var<storage, read> arrivals: array<f32>;
@group(0) @binding(8) var<storage, read> links: array<f32>;
@group(0) @binding(9) var<storage, read_write> dDt: array<f32>;
@group(0) @binding(10) var<storage, read_write> shares: array<f32>;
@group(0) @binding(11) var<uniform> p: Params;

var<workgroup> sums: array<vec4f, 2u * CHUNK>;

@compute @workgroup_size(CHUNK)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  let h = id % p.nHeads;
  let c = (id / p.nHeads) % p.nChunks;
  let b = id / p.nHeads / p.nChunks;
  let t = c * CHUNK + tid;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let A = -exp(aLog[p.aLogOffset + h]);

  // Sums that cross this token whole; of later tokens in this tile with earlier tiles; of this tile with later ones.
  var across = 0.0f;
  var row = 0.0f;
  var column = 0.0f;
  var arrival = 0.0f;
  var viaEnd = 0.0f;
  var dWeight = 0.0f;
  if (t < real) {
    let tile = tid / TM;
    for (var pair = 0u; pair < p.pairs; pair++) {
      let tiles = tilePair(pair);
      let at = (id * p.pairs + pair) * 2u * TM;
      if (tiles.x == tiles.y && tiles.x == tile) {
        across += edges[at + tid % TM];
      } else if (tiles.x == tile) {
        row += edges[at + tid % TM];
      } else if (tiles.y == tile && tiles.x > tile) {
        column += edges[at + TM + tid % TM];
      } else if (tiles.y < tile && tile < tiles.x) {
        for (var m = 0u; m < TM; m++) {
          across += edges[at + m];
        }
      }
    }
    for (var i = 0u; i < p.rowTiles; i++) {
      let pairOf = rowSums[(id * p.rowTiles + i) * CHUNK + tid];
      viaEnd += pairOf.x;
      dWeight += pairOf.y;
    }
    if (HAS_STATES && c > 0u) {
      for (var i = 0u; i < p.arrivalTiles; i++) {
        arrival += arrivals[(id * p.arrivalTiles + i) * CHUNK + tid];
      }
    }
    viaEnd *= decay[id * CHUNK + tid].x;
  }

  // Four inclusive scans at once: of x and y from the last token back, of z and w from the first on; x and z within tiles.
  sums[CHUNK - 1u - tid].x = row;
  sums[CHUNK - 1u - tid].y = arrival;
  sums[tid].z = column;
  sums[tid].w = viaEnd;
  workgroupBarrier();
  var source = 0u;
  for (var reach = 1u; reach < CHUNK; reach *= 2u) {
    var value = sums[source + tid];
    if (tid >= reach) {
      let other = sums[source + tid - reach];
      value += select(vec4f(0.0f, other.y, 0.0f, other.w), other, tid % TM >= reach);
    }
    source = CHUNK - source;
    sums[source + tid] = value;
    workgroupBarrier();
  }
  let from0 = sums[source + CHUNK - 1u - tid];
  var da = across + from0.x + from0.y;
  if (tid > 0u) {
    let upTo = sums[source + tid - 1u];
    da += upTo.w + select(0.0f, upTo.z, tid % TM > 0u);
  }
  if (HAS_STATES && c > 0u && c + 1u < p.nChunks) {
    da += links[id];
  }

  var dStep = 0.0f;
  var dA = 0.0f;
  if (t < real) {
    var raw = dt[p.dtOffset + (b * p.length + t) * p.dtStride + h];
    if (HAS_BIAS) {
      raw += dtBias[p.dtBiasOffset + h];
    }
    let natural = softplus(raw);
    let step = clamp(natural, p.dtLow, p.dtHigh);
    dA = step * da;
    var slope = 1.0f;
    if (ZOH) {
      slope = exp(step * A);
      dA += dWeight * step * step * psi(step * A);
    }
    dStep = A * da + dWeight * slope;
    dStep *= select(0.0f, sigmoid(raw), natural >= p.dtLow && natural <= p.dtHigh);
  }
  if (t < p.length) {
    dDt[p.dDtOffset + (b * p.length + t) * p.dDtStride + h] = dStep;
  }

  workgroupBarrier();
  sums[tid] = vec4f(dA, dStep, 0.0f, 0.0f);
  workgroupBarrier();
  if (tid == 0u) {
    var total = vec4f(0.0f);
    for (var i = 0u; i < CHUNK; i++) {
      total += sums[i];
    }
    shares[(id / p.nHeads * 2u) * p.nHeads + h] = total.x;
    shares[(id / p.nHeads * 2u + 1u) * p.nHeads + h] = total.y;
  }
}
