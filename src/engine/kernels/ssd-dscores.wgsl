// SSD gradient: of the scores within each chunk, and of the decay between its tokens.
//
//   E[t, k] = dOut_t · x_k of a head;  decayed = exp(Σ dt·A from k to t)·weight_k for k ≤ t
//   dScores[t, k] = Σ over heads E·decayed                     (dC += dScores·B, dB += dScoresᵀ·C later)
//   W[t, k] = E·decayed·scores: gradient of Σ dt·A from k to t, so that the decay at token j gets the sum of all W with
//   k < j ≤ t. A tile on the diagonal leaves these sums; another its row and column sums, from which ssd-ddt makes them.
//   Only sums, no differences: under strong decay the result is small and everything it would be a difference of is not.
//
// A workgroup takes a TM × TM tile (on or below the diagonal) of one group and HEADS of its heads, one after another.
//   dScores [parts, batch, nChunks, nGroups, CHUNK, CHUNK], parts = heads of a group / HEADS
//   edges [batch, nChunks, nHeads, pairs, 2, TM]: sums across j, or row sums and column sums
//#include flat
//#include ssd-span
//#include ssd-tile
//#include ssd-stage
//#include ssd-pair

struct Params {
  headDim: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, pairs: u32, parts: u32, cells: u32,
  xOffset: u32, xStride: u32, dOutOffset: u32, dOutStride: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> decay: array<vec4f>;
@group(0) @binding(4) var<storage, read> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> dScores: array<f32>;
@group(0) @binding(6) var<storage, read_write> edges: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

var<workgroup> rowSteps: array<vec4f, TM>;
var<workgroup> columnSteps: array<vec4f, TM>;
// Sum over heads; every element is only touched by its own invocation.
var<workgroup> sums: array<vec4f, TM * TM / 4u>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
//#if DYNAMIC
  let HEAD_DIM = p.headDim;
//#end
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  var acc: TileSums;
  let part = id % p.parts;
  let pair = (id / p.parts) % p.pairs;
  let tiles = tilePair(pair);
  let cell = id / p.parts / p.pairs;
  let g = cell % p.nGroups;
  let chunk = cell / p.nGroups;
  let b = chunk / p.nChunks;
  let first = chunk % p.nChunks * CHUNK;
  let t0 = tiles.x * TM;
  let k0 = tiles.y * TM;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  // A slab may reach beyond the chunk.
  real = min(real, first + CHUNK);
  for (var e = tid; e < TM * TM / 4u; e += THREADS) {
    sums[e] = vec4f(0.0f);
  }
  let lastHead = min((part + 1u) * HEADS, p.headsPerGroup);
  for (var i = part * HEADS; i < lastHead; i++) {
    let h = g * p.headsPerGroup + i;
    let line = chunk * p.nHeads + h;
    for (var m = tid; m < TM; m += THREADS) {
      rowSteps[m] = decay[line * CHUNK + t0 + m];
      columnSteps[m] = decay[line * CHUNK + k0 + m];
    }
    tileClear(&acc);
    for (var p0 = 0u; p0 < HEAD_DIM; p0 += TK) {
      for (var e = tid; e < TK * TM / 4u; e += THREADS) {
        let at = alongK(e);
        let t = first + t0 + at.y;
        let column = p0 + at.x;
        var value = vec4f(0.0f);
        if (t < real && column < HEAD_DIM) {
          let o = p.dOutOffset + (b * p.length + t) * p.dOutStride + h * HEAD_DIM + column;
          let s = quadTo(t, real) * p.dOutStride;
          value = select(vec4f(), vec4f(dOut[o + s.x], dOut[o + s.y], dOut[o + s.z], dOut[o + s.w]), withinTo(t, real));
        }
        stageA(at.x, at.y, value);
      }
      for (var e = tid; e < TK * TN / 4u; e += THREADS) {
        let at = alongK(e);
        let t = first + k0 + at.y;
        let column = p0 + at.x;
        var value = vec4f(0.0f);
        if (t < real && column < HEAD_DIM) {
          let o = p.xOffset + (b * p.length + t) * p.xStride + h * HEAD_DIM + column;
          let s = quadTo(t, real) * p.xStride;
          value = select(vec4f(), vec4f(x[o + s.x], x[o + s.y], x[o + s.z], x[o + s.w]), withinTo(t, real));
        }
        stageB(at.x, at.y, value);
      }
      workgroupBarrier();
      tileStep(&acc, tid);
      workgroupBarrier();
    }
    tileFlush(&acc, tid);
    workgroupBarrier();
    for (var e = tid; e < TM * TM / 4u; e += THREADS) {
      let at = alongM(e, TM);
      let m = at.x;
      let n = at.y;
      var w = vec4f(0.0f);
      if (k0 + n <= t0 + m && first + t0 + m < real) {
        let here = rowSteps[m];
        let c0 = columnSteps[n];
        let c1 = columnSteps[n + 1u];
        let c2 = columnSteps[n + 2u];
        let c3 = columnSteps[n + 3u];
        let spans = vec4f(span(here, c0), span(here, c1), span(here, c2), span(here, c3));
        let weight = vec4f(c0.x, c1.x, c2.x, c3.x);
        let line = vec4u(k0 + n) + vec4u(0u, 1u, 2u, 3u);
        let decayed = select(
          vec4f(), tileReadQuad(m, n) * exp(spans) * weight, line <= vec4u(t0 + m));
        sums[e] += decayed;
        let o = (cell * CHUNK + t0 + m) * CHUNK + k0 + n;
        w = select(
          vec4f(), decayed * vec4f(scores[o], scores[o + 1u], scores[o + 2u], scores[o + 3u]), line < vec4u(t0 + m));
      }
      tileWriteQuad(m, n, w);
    }
    workgroupBarrier();
    let edgesAt = (line * p.pairs + pair) * 2u * TM;
    if (tiles.x == tiles.y) {
      for (var m = tid; m < TM; m += THREADS) {
        var before = 0.0f;
        for (var n = 0u; n < TM; n += 4u) {
          let w = tileReadQuad(m, n);
          let sums2 = vec2f(before + w.x, before + w.x + w.y);
          tileWriteQuad(m, n, vec4f(before, sums2, sums2.y + w.z));
          before = sums2.y + w.z + w.w;
        }
      }
      workgroupBarrier();
      for (var n = tid; n < TM; n += THREADS) {
        var across = 0.0f;
        for (var m = n; m < TM; m++) {
          across += tileRead(m, n);
        }
        edges[edgesAt + n] = across;
      }
    } else {
      for (var m = tid; m < TM; m += THREADS) {
        var row = 0.0f;
        var column = 0.0f;
        for (var n = 0u; n < TM; n++) {
          row += tileRead(m, (n + m) % TM);
          column += tileRead(n, m);
        }
        edges[edgesAt + m] = row;
        edges[edgesAt + TM + m] = column;
      }
    }
    workgroupBarrier();
  }
  workgroupBarrier();
  for (var e = tid; e < TM * TM; e += THREADS) {
    dScores[((part * p.cells + cell) * CHUNK + t0 + e / TM) * CHUNK + k0 + e % TM] = sums[e / 4u][e % 4u];
  }
}
