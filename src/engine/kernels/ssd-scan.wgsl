// SSD, step 4: the output of a tile of TM tokens × TN columns of one head.
//
//   out[t] = exp(Σ dt·A up to t)·S·C_t + Σ_{k ≤ t} scores[t, k]·exp(Σ dt·A from k to t)·weight_k·x_k + skip·x_t
//
//   x, out [batch, length, nHeads·headDim] · states [batch, nChunks, nHeads, headDim, dState], S = the entering state
// Exponents are differences of running sums and never positive; they are clamped against rounding. HAS_STATES: whether
// any state enters (a single chunk that starts from zero has none).
//#include flat
//#include ssd-span
//#include ssd-tile
//#include ssd-stage

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, COffset: u32, CStride: u32, outOffset: u32, outStride: u32,
  skipOffset: u32, lengthsOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> C: array<f32>;
@group(0) @binding(2) var<storage, read> skip: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read> decay: array<vec4f>;
@group(0) @binding(5) var<storage, read> scores: array<f32>;
@group(0) @binding(6) var<storage, read> states: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;

var<workgroup> steps: array<vec4f, CHUNK>;
var<workgroup> fades: array<f32, TM>;

fn fadesOf(m: u32) -> vec4f {
  return vec4f(fades[m], fades[m + 1u], fades[m + 2u], fades[m + 3u]);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
//#if DYNAMIC
  let HEAD_DIM = p.headDim;
  let STATES = p.dState;
//#end
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  var acc: TileSums;
  let tile = id % (CHUNK / TM);
  let p0 = (id / (CHUNK / TM)) % p.columnTiles * TN;
  let line = id / (CHUNK / TM) / p.columnTiles;
  let h = line % p.nHeads;
  let g = h / p.headsPerGroup;
  let c = (line / p.nHeads) % p.nChunks;
  let b = line / p.nHeads / p.nChunks;
  let first = c * CHUNK;
  let t0 = tile * TM;
  if (first + t0 >= p.length) {
    return;
  }
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  // A slab may reach beyond the chunk.
  real = min(real, first + CHUNK);
  for (var t = tid; t < CHUNK; t += THREADS) {
    steps[t] = decay[line * CHUNK + t];
  }
  for (var m = tid; m < TM; m += THREADS) {
    fades[m] = fadeOf(decay[line * CHUNK + t0 + m]);
  }
  workgroupBarrier();
  tileClear(&acc);

  if (HAS_STATES) {
    for (var n0 = 0u; n0 < STATES; n0 += TK) {
      for (var e = tid; e < TK * TM / 4u; e += THREADS) {
        let at = alongK(e);
        let t = first + t0 + at.y;
        let column = n0 + at.x;
        var value = vec4f(0.0f);
        if (t < real && column < STATES) {
          let o = p.COffset + (b * p.length + t) * p.CStride + g * STATES + column;
          let s = quadTo(t, real) * p.CStride;
          let four = vec4f(C[o + s.x], C[o + s.y], C[o + s.z], C[o + s.w]);
          value = select(vec4f(), four, withinTo(t, real)) * fadesOf(at.y);
        }
        stageA(at.x, at.y, value);
      }
      for (var e = tid; e < TK * TN / 4u; e += THREADS) {
        let at = alongK(e);
        let row = p0 + at.y;
        let n = n0 + at.x;
        var value = vec4f(0.0f);
        if (row < HEAD_DIM && n < STATES) {
          let o = p.statesOffset + (line * HEAD_DIM + row) * STATES + n;
          let s = quad(row, HEAD_DIM) * STATES;
          let four = vec4f(states[o + s.x], states[o + s.y], states[o + s.z], states[o + s.w]);
          value = select(vec4f(), four, within(row, HEAD_DIM));
        }
        stageB(at.x, at.y, value);
      }
      workgroupBarrier();
      tileStep(&acc, tid);
      workgroupBarrier();
    }
  }

  let scoresAt = ((b * p.nChunks + c) * p.nGroups + g) * CHUNK * CHUNK;
  for (var k0 = 0u; k0 < t0 + TM; k0 += TK) {
    if (first + k0 >= real) {
      break;
    }
    for (var e = tid; e < TK * TM / 4u; e += THREADS) {
      let at = alongK(e);
      let t = t0 + at.y;
      let k = k0 + at.x;
      var value = vec4f(0.0f);
      if (k < t + 4u && first + t < real) {
        let o = scoresAt + t * CHUNK + k;
        let source = steps[k];
        let spans = vec4f(
          span(steps[t], source), span(steps[t + 1u], source), span(steps[t + 2u], source), span(steps[t + 3u], source));
        let ok = withinTo(first + t, real) & (vec4u(k) <= vec4u(t, t + 1u, t + 2u, t + 3u));
        let raw = vec4f(scores[o], scores[o + CHUNK], scores[o + 2u * CHUNK], scores[o + 3u * CHUNK]);
        value = select(vec4f(), raw * exp(spans) * source.x, ok);
      }
      stageA(at.x, at.y, value);
    }
    for (var e = tid; e < TK * TN / 4u; e += THREADS) {
      let at = alongM(e, TN);
      let t = first + k0 + at.x;
      let column = p0 + at.y;
      var value = vec4f(0.0f);
      if (t < real && column < HEAD_DIM) {
        let o = p.xOffset + (b * p.length + t) * p.xStride + h * HEAD_DIM + column;
        let s = quad(column, HEAD_DIM);
        value = select(vec4f(), vec4f(x[o + s.x], x[o + s.y], x[o + s.z], x[o + s.w]), within(column, HEAD_DIM));
      }
      stageB(at.x, at.y, value);
    }
    workgroupBarrier();
    tileStep(&acc, tid);
    workgroupBarrier();
  }

  tileFlush(&acc, tid);
  workgroupBarrier();
  var skipWeight = 0.0f;
  if (HAS_SKIP) {
    skipWeight = skip[p.skipOffset + h];
  }
  for (var e = tid; e < TM * TN; e += THREADS) {
    let t = first + t0 + e / TN;
    let column = p0 + e % TN;
    if (t < p.length && column < HEAD_DIM) {
      var y = 0.0f;
      if (t < real) {
        y = tileRead(e / TN, e % TN);
        if (HAS_SKIP) {
          y += skipWeight * x[p.xOffset + (b * p.length + t) * p.xStride + h * HEAD_DIM + column];
        }
      }
      out[p.outOffset + (b * p.length + t) * p.outStride + h * HEAD_DIM + column] = y;
    }
  }
}
