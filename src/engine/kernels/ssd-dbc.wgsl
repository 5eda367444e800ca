// SSD gradient: dC (OF_C) or dB of a tile of TM tokens × TN states of one group, summed over its heads.
//
//   dC_t = Σ_h exp(Σ dt·A up to t)·dOut_t·S            + Σ_k dScores[t, k]·B_k,   S = the state that enters the chunk
//   dB_k = Σ_h weight_k·exp(Σ dt·A behind k)·x_k·dS    + Σ_t dScores[t, k]·C_t,   dS = gradient of the one that leaves it
//
// For dC also arrivals[t] = C_t · (head's term), the gradient of the decay up to t, over this tile's states.
//   V = dOut or x [batch, length, nHeads·headDim] · O = B or C · own = C · states = S or dS [batch, nChunks, nHeads, headDim, dState]
//   arrivals [batch, nChunks, nHeads, columnTiles, CHUNK]
//#include flat
//#include ssd-span
//#include ssd-tile
//#include ssd-stage

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32, parts: u32,
  cells: u32, VOffset: u32, VStride: u32, OOffset: u32, OStride: u32, ownOffset: u32, ownStride: u32,
  outOffset: u32, outStride: u32, lengthsOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> V: array<f32>;
@group(0) @binding(1) var<storage, read> O: array<f32>;
@group(0) @binding(2) var<storage, read> own: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read> decay: array<vec4f>;
@group(0) @binding(5) var<storage, read> dScores: array<f32>;
@group(0) @binding(6) var<storage, read> states: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;
@group(0) @binding(8) var<storage, read_write> arrivals: array<f32>;
@group(0) @binding(9) var<uniform> p: Params;

var<workgroup> factors: array<f32, TM>;
// Sum over heads where they must be told apart (dC); every element is only touched by its own invocation.
var<workgroup> sums: array<vec4f, select(1u, TM * TN / 4u, OF_C && HAS_STATES)>;

fn factorsOf(m: u32) -> vec4f {
  return vec4f(factors[m], factors[m + 1u], factors[m + 2u], factors[m + 3u]);
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
  let n0 = columnTile * TN;
  let cell = id / (CHUNK / TM) / p.columnTiles;
  let g = cell % p.nGroups;
  let chunk = cell / p.nGroups;
  let c = chunk % p.nChunks;
  let b = chunk / p.nChunks;
  let first = c * CHUNK;
  let m0 = tile * TM;
  if (first + m0 >= p.length) {
    return;
  }
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  // A slab may reach beyond the chunk.
  real = min(real, first + CHUNK);
  tileClear(&acc);

  // No state enters the first chunk in training, no gradient leaves the last.
  let linked = select(c + 1u < p.nChunks, c > 0u, OF_C);
  if (HAS_STATES && linked) {
    if (OF_C) {
      for (var e = tid; e < TM * TN / 4u; e += THREADS) {
        sums[e] = vec4f(0.0f);
      }
    }
    for (var i = 0u; i < p.headsPerGroup; i++) {
      let h = g * p.headsPerGroup + i;
      let line = chunk * p.nHeads + h;
      let end = decay[line * CHUNK + CHUNK - 1u];
      for (var m = tid; m < TM; m += THREADS) {
        let d = decay[line * CHUNK + m0 + m];
        factors[m] = select(d.x * exp(span(end, d)), fadeOf(d), OF_C);
      }
      workgroupBarrier();
      for (var p0 = 0u; p0 < HEAD_DIM; p0 += TK) {
        for (var e = tid; e < TK * TM / 4u; e += THREADS) {
          let at = alongK(e);
          let t = first + m0 + at.y;
          let column = p0 + at.x;
          var value = vec4f(0.0f);
          if (t < real && column < HEAD_DIM) {
            let o = p.VOffset + (b * p.length + t) * p.VStride + h * HEAD_DIM + column;
            let s = quadTo(t, real) * p.VStride;
            let four = vec4f(V[o + s.x], V[o + s.y], V[o + s.z], V[o + s.w]);
            value = select(vec4f(), four, withinTo(t, real)) * factorsOf(at.y);
          }
          stageA(at.x, at.y, value);
        }
        for (var e = tid; e < TK * TN / 4u; e += THREADS) {
          let at = alongM(e, TN);
          let row = p0 + at.x;
          let n = n0 + at.y;
          var value = vec4f(0.0f);
          if (row < HEAD_DIM && n < STATES) {
            let o = p.statesOffset + (line * HEAD_DIM + row) * STATES + n;
            let s = quad(n, STATES);
            let four = vec4f(states[o + s.x], states[o + s.y], states[o + s.z], states[o + s.w]);
            value = select(vec4f(), four, within(n, STATES));
          }
          stageB(at.x, at.y, value);
        }
        workgroupBarrier();
        tileStep(&acc, tid);
        workgroupBarrier();
      }
      if (OF_C) {
        tileFlush(&acc, tid);
        tileClear(&acc);
        workgroupBarrier();
        for (var e = tid; e < TM * TN / 4u; e += THREADS) {
          let at = alongM(e, TN);
          let t = first + m0 + at.x;
          let n = n0 + at.y;
          let value = tileReadQuad(at.x, at.y);
          sums[e] += value;
          var product = vec4f(0.0f);
          if (t < real && n < STATES) {
            let o = p.ownOffset + (b * p.length + t) * p.ownStride + g * STATES + n;
            let s = quad(n, STATES);
            let mine = vec4f(own[o + s.x], own[o + s.y], own[o + s.z], own[o + s.w]);
            product = select(vec4f(), value * mine, within(n, STATES));
          }
          tileWriteQuad(at.x, at.y, product);
        }
        workgroupBarrier();
        for (var m = tid; m < TM; m += THREADS) {
          var sum = 0.0f;
          for (var n = 0u; n < TN; n++) {
            sum += tileRead(m, (n + m) % TN);
          }
          arrivals[(line * p.columnTiles + columnTile) * CHUNK + m0 + m] = sum;
        }
        workgroupBarrier();
      }
    }
  }

  // Within the chunk: tokens up to t for dC, from k on for dB.
  let from0 = select(m0, 0u, OF_C);
  let upTo = select(CHUNK, m0 + TM, OF_C);
  for (var j0 = from0; j0 < upTo; j0 += TK) {
    if (first + j0 >= real) {
      break;
    }
    for (var e = tid; e < TK * TM / 4u; e += THREADS) {
      var at = alongM(e, TM);
      if (OF_C) {
        at = alongK(e);
      }
      let m = m0 + at.y;
      let j = j0 + at.x;
      var value = vec4f(0.0f);
      if (select(m, j, OF_C) <= select(j, m + 3u, OF_C) && first + select(j, m, OF_C) < real) {
        // Down the rows of dScores for dC, along them for dB.
        let step = select(1u, CHUNK, OF_C);
        for (var part = 0u; part < p.parts; part++) {
          let o = ((part * p.cells + cell) * CHUNK + select(j, m, OF_C)) * CHUNK + select(m, j, OF_C);
          value += vec4f(dScores[o], dScores[o + step], dScores[o + 2u * step], dScores[o + 3u * step]);
        }
        let line = vec4u(m, m + 1u, m + 2u, m + 3u);
        let ok = select(line <= vec4u(j), (line >= vec4u(j)) & withinTo(first + m, max(real, first + m + 1u)), vec4<bool>(OF_C));
        value = select(vec4f(), value, ok);
      }
      stageA(at.x, at.y, value);
    }
    for (var e = tid; e < TK * TN / 4u; e += THREADS) {
      let at = alongM(e, TN);
      let t = first + j0 + at.x;
      let column = n0 + at.y;
      var value = vec4f(0.0f);
      if (t < real && column < STATES) {
        let o = p.OOffset + (b * p.length + t) * p.OStride + g * STATES + column;
        let s = quad(column, STATES);
        value = select(vec4f(), vec4f(O[o + s.x], O[o + s.y], O[o + s.z], O[o + s.w]), within(column, STATES));
      }
      stageB(at.x, at.y, value);
    }
    workgroupBarrier();
    tileStep(&acc, tid);
    workgroupBarrier();
  }
  tileFlush(&acc, tid);
  workgroupBarrier();
  for (var e = tid; e < TM * TN; e += THREADS) {
    let t = first + m0 + e / TN;
    let n = n0 + e % TN;
    if (t < p.length && n < STATES) {
      var value = tileRead(e / TN, e % TN);
      if (OF_C && HAS_STATES && linked) {
        value += sums[e / 4u][e % 4u];
      }
      out[p.outOffset + (b * p.length + t) * p.outStride + g * STATES + n] = select(0.0f, value, t < real);
    }
  }
}
