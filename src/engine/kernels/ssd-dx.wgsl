// SSD gradient: dX of a tile of TM tokens × TN columns of one head, and what the step sizes need from it.
//
//   via the chunk's end   r_k = exp(Σ dt·A behind k)·dS·B_k,                dS = gradient of the state that leaves the chunk
//   via later tokens      q_k = Σ_{t ≥ k} scores[t, k]·exp(Σ dt·A from k to t)·dOut_t
//   dX_k = weight_k·(r_k + q_k) + skip·dOut_k
//   rowSums[k] = (x_k·r_k, x_k·(r_k + q_k)) over this tile's columns: the gradients of the decay behind k and of weight_k
//   skipSums = Σ x·dOut over the tile
//
//   rowSums [batch, nChunks, nHeads, columnTiles, CHUNK] vec2 · skipSums [batch, nChunks, columnTiles, CHUNK / TM, nHeads]
//#include flat
//#include ssd-span
//#include ssd-tile
//#include ssd-product
//#include quad x
//#include quad B
//#include quad dOut
//#include quad dStates
//#include quad-put dX

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, BOffset: u32, BStride: u32, dOutOffset: u32, dOutStride: u32, dXOffset: u32, dXStride: u32,
  skipOffset: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<CELL>;
@group(0) @binding(1) var<storage, read> B: array<CELL>;
@group(0) @binding(2) var<storage, read> dOut: array<CELL>;
@group(0) @binding(3) var<storage, read> skip: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<i32>;
@group(0) @binding(5) var<storage, read> decay: array<vec4f>;
@group(0) @binding(6) var<storage, read> scores: array<vec4f>;
@group(0) @binding(7) var<storage, read> dStates: array<CELL>;
@group(0) @binding(8) var<storage, read_write> dX: array<CELL>;
@group(0) @binding(9) var<storage, read_write> rowSums: array<vec2f>;
@group(0) @binding(10) var<storage, read_write> skipSums: array<f32>;
@group(0) @binding(11) var<uniform> p: Params;

var<workgroup> steps: array<vec4f, CHUNK>;
var<workgroup> fades: array<f32, TM>;
var<workgroup> viaEnd: array<f32, TM>;
var<workgroup> skips: array<f32, THREADS>;

struct Place {
  // Columns from the tile's first one to the end of the head; states.
  columns: u32, states: u32,
  // The tile's first token within the chunk; tokens of the chunk.
  tile: u32, tokens: u32,
  // Elements before the chunk's first token, before the chunk's scores and before the tile's first row of the state.
  x: u32, dOut: u32, B: u32, scores: u32, S: u32,
}
var<private> here: Place;

fn quadOfX(t: u32, n: u32) -> vec4f {
  return xQuad(here.x + t * p.xStride + n, here.columns - n);
}
fn quadOfOut(t: u32, n: u32) -> vec4f {
  return dOutQuad(here.dOut + t * p.dOutStride + n, here.columns - n);
}

// Phase 0: B, states. Phase 1: scores, dOut.
fn fetchA(phase: u32, k: u32, m: u32) -> vec4f {
  let row = here.tile + m;
  if (phase == 1u) {
    if (row > k || k >= here.tokens) {
      return vec4f();
    }
    return scores[(here.scores + k * CHUNK + row) / 4u];
  }
  if (row >= here.tokens || k >= here.states) {
    return vec4f();
  }
  return BQuad(here.B + row * p.BStride + k, here.states - k);
}
fn weighA(phase: u32, k: u32, m: u32, quad: vec4f) -> vec4f {
  if (phase == 0u) {
    return quad * fades[m];
  }
  let row = here.tile + m;
  if (row > k || k >= here.tokens) {
    return vec4f();
  }
  let d = steps[k];
  let spans = vec4f(
    span(d, steps[row]), span(d, steps[row + 1u]), span(d, steps[row + 2u]), span(d, steps[row + 3u]));
  return select(vec4f(), quad * exp(spans), vec4u(row, row + 1u, row + 2u, row + 3u) <= vec4u(k));
}
fn fetchB(phase: u32, k: u32, n: u32) -> vec4f {
  if (n >= here.columns) {
    return vec4f();
  }
  if (phase == 1u) {
    if (k >= here.tokens) {
      return vec4f();
    }
    return quadOfOut(k, n);
  }
  if (k >= here.states) {
    return vec4f();
  }
  return dStatesQuad(here.S + n * here.states + k, here.states - k);
}

// The sum of row r of the flushed strip.
fn rowSum(r: u32) -> f32 {
  var sum = vec4f(0.0f);
  for (var n = 0u; n < TN; n += 4u) {
    sum += stripQuad(r, n);
  }
  return (sum.x + sum.y) + (sum.z + sum.w);
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
  let tileIndex = id % (CHUNK / TM);
  let tile = tileIndex * TM;
  let columnTile = (id / (CHUNK / TM)) % p.columnTiles;
  let p0 = columnTile * TN;
  let line = id / (CHUNK / TM) / p.columnTiles;
  let h = line % p.nHeads;
  let g = h / p.headsPerGroup;
  let c = (line / p.nHeads) % p.nChunks;
  let b = line / p.nHeads / p.nChunks;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let first = b * p.length + c * CHUNK;
  let tokens = min(CHUNK, real - min(real, c * CHUNK));
  here = Place(
    HEAD_DIM - min(p0, HEAD_DIM), STATES, tile, tokens,
    p.xOffset + first * p.xStride + h * HEAD_DIM + p0, p.dOutOffset + first * p.dOutStride + h * HEAD_DIM + p0,
    p.BOffset + first * p.BStride + g * STATES,
    ((b * p.nChunks + c) * p.nGroups + g) * CHUNK * CHUNK, (line * HEAD_DIM + p0) * STATES);
  for (var t = tid; t < CHUNK; t += THREADS) {
    steps[t] = decay[line * CHUNK + t];
  }
  for (var m = tid; m < TM; m += THREADS) {
    viaEnd[m] = 0.0f;
    fades[m] = exp(span(decay[line * CHUNK + CHUNK - 1u], decay[line * CHUNK + tile + m]));
  }
  var acc: TileSums;
  tileClear(&acc);
  if (HAS_STATES && c + 1u < p.nChunks) {
    product(&acc, tid, 0u, 0u, select(STATES, 0u, tile >= tokens), true, true);
    for (var strip = 0u; strip < STRIPS; strip++) {
      tileFlush(&acc, tid, strip);
      workgroupBarrier();
      for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
        let at = quadAt(e, TN / 4u);
        let k = tile + stripRow(strip, at.x);
        var value = vec4f(0.0f);
        if (k < tokens && at.y < here.columns) {
          value = stripQuad(at.x, at.y) * quadOfX(k, at.y);
        }
        stripWrite(at.x, at.y, value);
      }
      workgroupBarrier();
      for (var r = tid; r < STRIP_ROWS; r += THREADS) {
        viaEnd[stripRow(strip, r)] = rowSum(r);
      }
      workgroupBarrier();
    }
  }
  product(&acc, tid, 1u, tile, tokens, false, false);
  var skipWeight = 0.0f;
  if (HAS_SKIP) {
    skipWeight = skip[p.skipOffset + h];
  }
  var skipSum = 0.0f;
  for (var strip = 0u; strip < STRIPS; strip++) {
    tileFlush(&acc, tid, strip);
    workgroupBarrier();
    for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
      let at = quadAt(e, TN / 4u);
      let k = tile + stripRow(strip, at.x);
      var mine = vec4f(0.0f);
      if (c * CHUNK + k < p.length && at.y < here.columns) {
        var value = vec4f(0.0f);
        if (k < tokens) {
          let sum = stripQuad(at.x, at.y);
          let u = quadOfX(k, at.y);
          mine = sum * u;
          value = steps[k].x * sum;
          if (HAS_SKIP) {
            let dy = quadOfOut(k, at.y);
            value += skipWeight * dy;
            skipSum += dot(u, dy);
          }
        }
        dXPut(p.dXOffset + (first + k) * p.dXStride + h * HEAD_DIM + p0 + at.y, here.columns - at.y, value);
      }
      stripWrite(at.x, at.y, mine);
    }
    workgroupBarrier();
    for (var r = tid; r < STRIP_ROWS; r += THREADS) {
      let m = stripRow(strip, r);
      rowSums[(line * p.columnTiles + columnTile) * CHUNK + tile + m] = vec2f(viaEnd[m], rowSum(r));
    }
    workgroupBarrier();
  }
  skips[tid] = skipSum;
  workgroupBarrier();
  if (HAS_SKIP && tid < 32u) {
    var share = 0.0f;
    for (var i = tid; i < THREADS; i += 32u) {
      share += skips[i];
    }
    skips[tid] = share;
  }
  workgroupBarrier();
  if (HAS_SKIP && tid == 0u) {
    var total = 0.0f;
    for (var i = 0u; i < min(32u, THREADS); i++) {
      total += skips[i];
    }
    skipSums[(((b * p.nChunks + c) * p.columnTiles + columnTile) * (CHUNK / TM) + tileIndex) * p.nHeads + h] = total;
  }
}
