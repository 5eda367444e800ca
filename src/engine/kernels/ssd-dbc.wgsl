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
//#include ssd-product
//#include quad V
//#include quad O
//#include quad own
//#include quad states
//#include quad-put out

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, columnTiles: u32, parts: u32,
  cells: u32, VOffset: u32, VStride: u32, OOffset: u32, OStride: u32, ownOffset: u32, ownStride: u32,
  outOffset: u32, outStride: u32, lengthsOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> V: array<CELL>;
@group(0) @binding(1) var<storage, read> O: array<CELL>;
@group(0) @binding(2) var<storage, read> own: array<CELL>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read> decay: array<vec4f>;
@group(0) @binding(5) var<storage, read> dScores: array<vec4f>;
@group(0) @binding(6) var<storage, read> states: array<CELL>;
@group(0) @binding(7) var<storage, read_write> out: array<CELL>;
@group(0) @binding(8) var<storage, read_write> arrivals: array<f32>;
@group(0) @binding(9) var<uniform> p: Params;

var<workgroup> factors: array<f32, TM>;
struct Place {
  headDim: u32,
  // States from the tile's first one to the end of the group.
  columns: u32,
  // The tile's first token within the chunk; tokens of the chunk.
  tile: u32, tokens: u32,
  // Elements before the chunk's first token (of the head; of the tile's first state), before the chunk's gradients of the
  // scores, and before the tile's first state of the head.
  V: u32, O: u32, dScores: u32, S: u32,
  stateStride: u32,
}
var<private> here: Place;

// Phase 0: V, states. Phase 1: dScores (down its columns for dB), O.
fn fetchA(phase: u32, k: u32, m: u32) -> vec4f {
  let row = here.tile + m;
  if (phase == 1u) {
    // The quad's first pair, and whether any of its pairs is one of a token and an earlier one.
    let t = select(k, row, OF_C);
    let j = select(row, k, OF_C);
    if (j > t || t >= here.tokens) {
      return vec4f();
    }
    var sum = vec4f(0.0f);
    for (var part = 0u; part < p.parts; part++) {
      sum += dScores[(here.dScores + (part * p.cells * CHUNK + t) * CHUNK + j) / 4u];
    }
    return select(vec4f(), sum, vec4u(j, j + 1u, j + 2u, j + 3u) <= vec4u(t));
  }
  if (row >= here.tokens || k >= here.headDim) {
    return vec4f();
  }
  return VQuad(here.V + row * p.VStride + k, here.headDim - k);
}
fn weighA(phase: u32, k: u32, m: u32, quad: vec4f) -> vec4f {
  if (phase == 0u) {
    return quad * factors[m];
  }
  return quad;
}
fn fetchB(phase: u32, k: u32, n: u32) -> vec4f {
  if (n >= here.columns) {
    return vec4f();
  }
  if (phase == 1u) {
    if (k >= here.tokens) {
      return vec4f();
    }
    return OQuad(here.O + k * p.OStride + n, here.columns - n);
  }
  if (k >= here.headDim) {
    return vec4f();
  }
  return statesQuad(here.S + k * here.stateStride + n, here.columns - n);
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
  let columnTile = (id / (CHUNK / TM)) % p.columnTiles;
  let n0 = columnTile * TN;
  let cell = id / (CHUNK / TM) / p.columnTiles;
  let g = cell % p.nGroups;
  let chunk = cell / p.nGroups;
  let c = chunk % p.nChunks;
  let b = chunk / p.nChunks;
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
    HEAD_DIM, STATES - min(n0, STATES), tile, tokens,
    0u, p.OOffset + first * p.OStride + g * STATES + n0, cell * CHUNK * CHUNK, 0u, STATES);
  var acc: TileSums;
  tileClear(&acc);

  // Sums over heads of the invocation's quads, where heads must be told apart (dC).
  //#repeat s 0 STRIPS
  //#repeat i 0 QUADS
  var sum$s$i = vec4f(0.0f);
  //#end
  //#end
  // No state enters the first chunk in training, no gradient leaves the last.
  let linked = select(c + 1u < p.nChunks, c > 0u, OF_C);
  if (HAS_STATES && linked) {
    for (var i = 0u; i < p.headsPerGroup; i++) {
      let h = g * p.headsPerGroup + i;
      let line = chunk * p.nHeads + h;
      let end = decay[line * CHUNK + CHUNK - 1u];
      for (var m = tid; m < TM; m += THREADS) {
        let d = decay[line * CHUNK + tile + m];
        factors[m] = select(d.x * exp(span(end, d)), fadeOf(d), OF_C);
      }
      here.V = p.VOffset + first * p.VStride + h * HEAD_DIM;
      here.S = p.statesOffset + line * HEAD_DIM * STATES + n0;
      product(&acc, tid, 0u, 0u, HEAD_DIM, true, false);
      if (OF_C) {
        //#repeat s 0 STRIPS
        tileFlush(&acc, tid, $s);
        workgroupBarrier();
        //#repeat i 0 QUADS
        if (tid + $i * THREADS < STRIP_ROWS * TN / 4u) {
          let at = quadAt(tid + $i * THREADS, TN / 4u);
          let t = tile + stripRow($s, at.x);
          let value = stripQuad(at.x, at.y);
          sum$s$i += value;
          var mine = vec4f(0.0f);
          if (t < tokens && at.y < here.columns) {
            let o = p.ownOffset + (first + t) * p.ownStride + g * STATES + n0 + at.y;
            mine = value * ownQuad(o, here.columns - at.y);
          }
          stripWrite(at.x, at.y, mine);
        }
        //#end
        workgroupBarrier();
        for (var r = tid; r < STRIP_ROWS; r += THREADS) {
          var sum = vec4f(0.0f);
          for (var n = 0u; n < TN; n += 4u) {
            sum += stripQuad(r, n);
          }
          arrivals[(line * p.columnTiles + columnTile) * CHUNK + tile + stripRow($s, r)] =
            (sum.x + sum.y) + (sum.z + sum.w);
        }
        workgroupBarrier();
        //#end
        tileClear(&acc);
      }
    }
  }

  // Within the chunk: tokens up to t for dC, from k on for dB.
  product(&acc, tid, 1u, select(tile, 0u, OF_C), select(tokens, min(tokens, tile + TM), OF_C), OF_C, false);
  //#repeat s 0 STRIPS
  tileFlush(&acc, tid, $s);
  workgroupBarrier();
  //#repeat i 0 QUADS
  if (tid + $i * THREADS < STRIP_ROWS * TN / 4u) {
    let at = quadAt(tid + $i * THREADS, TN / 4u);
    let t = tile + stripRow($s, at.x);
    if (c * CHUNK + t < p.length && at.y < here.columns) {
      var value = vec4f(0.0f);
      if (t < tokens) {
        value = stripQuad(at.x, at.y) + sum$s$i;
      }
      outPut(p.outOffset + (first + t) * p.outStride + g * STATES + n0 + at.y, here.columns - at.y, value);
    }
  }
  //#end
  workgroupBarrier();
  //#end
}
