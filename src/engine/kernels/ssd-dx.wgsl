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
//#include ssd-stage

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, BOffset: u32, BStride: u32, dOutOffset: u32, dOutStride: u32, dXOffset: u32, dXStride: u32,
  skipOffset: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> B: array<f32>;
@group(0) @binding(2) var<storage, read> dOut: array<f32>;
@group(0) @binding(3) var<storage, read> skip: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<i32>;
@group(0) @binding(5) var<storage, read> decay: array<vec4f>;
@group(0) @binding(6) var<storage, read> scores: array<f32>;
@group(0) @binding(7) var<storage, read> dStates: array<f32>;
@group(0) @binding(8) var<storage, read_write> dX: array<f32>;
@group(0) @binding(9) var<storage, read_write> rowSums: array<vec2f>;
@group(0) @binding(10) var<storage, read_write> skipSums: array<f32>;
@group(0) @binding(11) var<uniform> p: Params;

var<workgroup> steps: array<vec4f, CHUNK>;
var<workgroup> fades: array<f32, TM>;
var<workgroup> viaEnd: array<f32, TM>;
var<workgroup> skips: array<f32, THREADS>;

// Σ over a row of the flushed tile, from a different column in every row so that rows meet different banks.
fn rowSum(m: u32) -> f32 {
  var sum = 0.0f;
  for (var n = 0u; n < TN; n++) {
    sum += tileRead(m, (n + m) % TN);
  }
  return sum;
}

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
  let columnTile = (id / (CHUNK / TM)) % p.columnTiles;
  let p0 = columnTile * TN;
  let line = id / (CHUNK / TM) / p.columnTiles;
  let h = line % p.nHeads;
  let g = h / p.headsPerGroup;
  let c = (line / p.nHeads) % p.nChunks;
  let b = line / p.nHeads / p.nChunks;
  let first = c * CHUNK;
  let k0 = tile * TM;
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
    viaEnd[m] = 0.0f;
    fades[m] = exp(span(decay[line * CHUNK + CHUNK - 1u], decay[line * CHUNK + k0 + m]));
  }
  workgroupBarrier();
  tileClear(&acc);

  if (HAS_STATES && c + 1u < p.nChunks) {
    for (var n0 = 0u; n0 < STATES; n0 += TK) {
      for (var e = tid; e < TK * TM / 4u; e += THREADS) {
        let at = alongK(e);
        let t = first + k0 + at.y;
        let column = n0 + at.x;
        var value = vec4f(0.0f);
        if (t < real && column < STATES) {
          let o = p.BOffset + (b * p.length + t) * p.BStride + g * STATES + column;
          let s = quadTo(t, real) * p.BStride;
          let four = vec4f(B[o + s.x], B[o + s.y], B[o + s.z], B[o + s.w]);
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
          let o = (line * HEAD_DIM + row) * STATES + n;
          let s = quad(row, HEAD_DIM) * STATES;
          let four = vec4f(dStates[o + s.x], dStates[o + s.y], dStates[o + s.z], dStates[o + s.w]);
          value = select(vec4f(), four, within(row, HEAD_DIM));
        }
        stageB(at.x, at.y, value);
      }
      workgroupBarrier();
      tileStep(&acc, tid);
      workgroupBarrier();
    }
    tileFlush(&acc, tid);
    workgroupBarrier();
    for (var e = tid; e < TM * TN / 4u; e += THREADS) {
      let at = alongM(e, TN);
      let k = first + k0 + at.x;
      let column = p0 + at.y;
      var value = vec4f(0.0f);
      if (k < real && column < HEAD_DIM) {
        let o = p.xOffset + (b * p.length + k) * p.xStride + h * HEAD_DIM + column;
        let s = quad(column, HEAD_DIM);
        let u = select(vec4f(), vec4f(x[o + s.x], x[o + s.y], x[o + s.z], x[o + s.w]), within(column, HEAD_DIM));
        value = tileReadQuad(at.x, at.y) * u;
      }
      tileWriteQuad(at.x, at.y, value);
    }
    workgroupBarrier();
    for (var m = tid; m < TM; m += THREADS) {
      viaEnd[m] = rowSum(m);
    }
    workgroupBarrier();
  }

  let scoresAt = ((b * p.nChunks + c) * p.nGroups + g) * CHUNK * CHUNK;
  for (var t0 = k0; t0 < CHUNK; t0 += TK) {
    if (first + t0 >= real) {
      break;
    }
    for (var e = tid; e < TK * TM / 4u; e += THREADS) {
      let at = alongM(e, TM);
      let t = t0 + at.x;
      let k = k0 + at.y;
      var value = vec4f(0.0f);
      if (k <= t && first + t < real) {
        let o = scoresAt + t * CHUNK + k;
        let here = steps[t];
        let spans = vec4f(
          span(here, steps[k]), span(here, steps[k + 1u]), span(here, steps[k + 2u]), span(here, steps[k + 3u]));
        let ok = vec4u(k, k + 1u, k + 2u, k + 3u) <= vec4u(t);
        value = select(vec4f(), vec4f(scores[o], scores[o + 1u], scores[o + 2u], scores[o + 3u]) * exp(spans), ok);
      }
      stageA(at.x, at.y, value);
    }
    for (var e = tid; e < TK * TN / 4u; e += THREADS) {
      let at = alongM(e, TN);
      let t = first + t0 + at.x;
      let column = p0 + at.y;
      var value = vec4f(0.0f);
      if (t < real && column < HEAD_DIM) {
        let o = p.dOutOffset + (b * p.length + t) * p.dOutStride + h * HEAD_DIM + column;
        let s = quad(column, HEAD_DIM);
        let four = vec4f(dOut[o + s.x], dOut[o + s.y], dOut[o + s.z], dOut[o + s.w]);
        value = select(vec4f(), four, within(column, HEAD_DIM));
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
  var skipSum = 0.0f;
  for (var e = tid; e < TM * TN; e += THREADS) {
    let k = first + k0 + e / TN;
    let column = p0 + e % TN;
    if (k < p.length && column < HEAD_DIM) {
      var value = 0.0f;
      if (k < real) {
        let u = x[p.xOffset + (b * p.length + k) * p.xStride + h * HEAD_DIM + column];
        let sum = tileRead(e / TN, e % TN);
        value = steps[k0 + e / TN].x * sum;
        if (HAS_SKIP) {
          let dy = dOut[p.dOutOffset + (b * p.length + k) * p.dOutStride + h * HEAD_DIM + column];
          value += skipWeight * dy;
          skipSum += u * dy;
        }
      }
      dX[p.dXOffset + (b * p.length + k) * p.dXStride + h * HEAD_DIM + column] = value;
    }
  }
  skips[tid] = skipSum;
  workgroupBarrier();
  for (var e = tid; e < TM * TN / 4u; e += THREADS) {
    let at = alongM(e, TN);
    let k = first + k0 + at.x;
    let column = p0 + at.y;
    var value = vec4f(0.0f);
    if (k < real && column < HEAD_DIM) {
      let o = p.xOffset + (b * p.length + k) * p.xStride + h * HEAD_DIM + column;
      let s = quad(column, HEAD_DIM);
      let u = select(vec4f(), vec4f(x[o + s.x], x[o + s.y], x[o + s.z], x[o + s.w]), within(column, HEAD_DIM));
      value = tileReadQuad(at.x, at.y) * u;
    }
    tileWriteQuad(at.x, at.y, value);
  }
  workgroupBarrier();
  for (var m = tid; m < TM; m += THREADS) {
    rowSums[(line * p.columnTiles + columnTile) * CHUNK + k0 + m] = vec2f(viaEnd[m], rowSum(m));
  }
  if (HAS_SKIP && tid == 0u) {
    var sum = 0.0f;
    for (var i = 0u; i < THREADS; i++) {
      sum += skips[i];
    }
    skipSums[(((b * p.nChunks + c) * p.columnTiles + columnTile) * (CHUNK / TM) + tile) * p.nHeads + h] = sum;
  }
}
