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
//#include ssd-product
//#include quad x
//#include quad C
//#include quad states
//#include quad-put out

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, COffset: u32, CStride: u32, outOffset: u32, outStride: u32,
  skipOffset: u32, lengthsOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<CELL>;
@group(0) @binding(1) var<storage, read> C: array<CELL>;
@group(0) @binding(2) var<storage, read> skip: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read> decay: array<vec4f>;
@group(0) @binding(5) var<storage, read> scores: array<vec4f>;
@group(0) @binding(6) var<storage, read> states: array<CELL>;
@group(0) @binding(7) var<storage, read_write> out: array<CELL>;
@group(0) @binding(8) var<uniform> p: Params;

var<workgroup> steps: array<vec4f, CHUNK>;
var<workgroup> fades: array<f32, TM>;

struct Place {
  // Columns from the tile's first one to the end of the head; states.
  columns: u32, states: u32,
  // The tile's first token within the chunk; tokens of the chunk.
  tile: u32, tokens: u32,
  // Elements before the chunk's first token, before the chunk's scores and before the tile's first row of the state.
  x: u32, C: u32, scores: u32, S: u32,
}
var<private> here: Place;

fn quadOfX(t: u32, n: u32) -> vec4f {
  return xQuad(here.x + t * p.xStride + n, here.columns - n);
}

// Phase 0: C, states. Phase 1: scores, x.
fn fetchA(phase: u32, k: u32, m: u32) -> vec4f {
  let t = here.tile + m;
  if (phase == 1u) {
    if (k > t || t >= here.tokens) {
      return vec4f();
    }
    return scores[(here.scores + t * CHUNK + k) / 4u];
  }
  if (t >= here.tokens || k >= here.states) {
    return vec4f();
  }
  return CQuad(here.C + t * p.CStride + k, here.states - k);
}
fn weighA(phase: u32, k: u32, m: u32, quad: vec4f) -> vec4f {
  if (phase == 0u) {
    return quad * fades[m];
  }
  let t = here.tile + m;
  if (k > t) {
    return vec4f();
  }
  let d = steps[t];
  let k0 = steps[k];
  let k1 = steps[k + 1u];
  let k2 = steps[k + 2u];
  let k3 = steps[k + 3u];
  let spans = vec4f(span(d, k0), span(d, k1), span(d, k2), span(d, k3));
  let value = quad * exp(spans) * vec4f(k0.x, k1.x, k2.x, k3.x);
  return select(vec4f(), value, vec4u(k, k + 1u, k + 2u, k + 3u) <= vec4u(t));
}
fn fetchB(phase: u32, k: u32, n: u32) -> vec4f {
  if (n >= here.columns) {
    return vec4f();
  }
  if (phase == 1u) {
    if (k >= here.tokens) {
      return vec4f();
    }
    return quadOfX(k, n);
  }
  if (k >= here.states) {
    return vec4f();
  }
  return statesQuad(here.S + n * here.states + k, here.states - k);
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
  let tile = id % (CHUNK / TM) * TM;
  let p0 = (id / (CHUNK / TM)) % p.columnTiles * TN;
  let line = id / (CHUNK / TM) / p.columnTiles;
  let h = line % p.nHeads;
  let g = h / p.headsPerGroup;
  let c = (line / p.nHeads) % p.nChunks;
  let b = line / p.nHeads / p.nChunks;
  if (c * CHUNK + tile >= p.length) {
    return;
  }
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let first = b * p.length + c * CHUNK;
  let tokens = min(CHUNK, real - min(real, c * CHUNK));
  here = Place(
    HEAD_DIM - min(p0, HEAD_DIM), STATES, tile, tokens,
    p.xOffset + first * p.xStride + h * HEAD_DIM + p0, p.COffset + first * p.CStride + g * STATES,
    ((b * p.nChunks + c) * p.nGroups + g) * CHUNK * CHUNK, p.statesOffset + (line * HEAD_DIM + p0) * STATES);
  for (var t = tid; t < CHUNK; t += THREADS) {
    steps[t] = decay[line * CHUNK + t];
  }
  for (var m = tid; m < TM; m += THREADS) {
    fades[m] = fadeOf(decay[line * CHUNK + tile + m]);
  }
  var acc: TileSums;
  tileClear(&acc);
  if (HAS_STATES) {
    product(&acc, tid, 0u, 0u, select(STATES, 0u, tile >= tokens), true, true);
  }
  product(&acc, tid, 1u, 0u, select(min(tile + TM, tokens), 0u, tile >= tokens), true, false);
  var skipWeight = 0.0f;
  if (HAS_SKIP) {
    skipWeight = skip[p.skipOffset + h];
  }
  for (var strip = 0u; strip < STRIPS; strip++) {
    tileFlush(&acc, tid, strip);
    workgroupBarrier();
    for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
      let at = quadAt(e, TN / 4u);
      let t = tile + stripRow(strip, at.x);
      if (c * CHUNK + t < p.length && at.y < here.columns) {
        var y = vec4f(0.0f);
        if (t < tokens) {
          y = stripQuad(at.x, at.y);
          if (HAS_SKIP) {
            y += skipWeight * quadOfX(t, at.y);
          }
        }
        outPut(p.outOffset + (first + t) * p.outStride + h * HEAD_DIM + p0 + at.y, here.columns - at.y, y);
      }
    }
    workgroupBarrier();
  }
}
