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
//#include ssd-pair
//#include ssd-product
//#include quad x
//#include quad dOut

struct Params {
  headDim: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, nGroups: u32, pairs: u32, parts: u32, cells: u32,
  xOffset: u32, xStride: u32, dOutOffset: u32, dOutStride: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<CELL>;
@group(0) @binding(1) var<storage, read> dOut: array<CELL>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> decay: array<vec4f>;
@group(0) @binding(4) var<storage, read> scores: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dScores: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> edges: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

var<workgroup> rowSteps: array<vec4f, TM>;
var<workgroup> columnSteps: array<vec4f, TM>;

struct Place {
  headDim: u32,
  // First token of the row and column tile within the chunk; tokens of the chunk.
  row: u32, column: u32, tokens: u32,
  // Elements before the chunk's first token of the head.
  x: u32, dOut: u32,
}
var<private> here: Place;

fn fetchA(phase: u32, k: u32, m: u32) -> vec4f {
  let t = here.row + m;
  if (t >= here.tokens || k >= here.headDim) {
    return vec4f();
  }
  return dOutQuad(here.dOut + t * p.dOutStride + k, here.headDim - k);
}
fn weighA(phase: u32, k: u32, m: u32, quad: vec4f) -> vec4f {
  return quad;
}
fn fetchB(phase: u32, k: u32, n: u32) -> vec4f {
  let t = here.column + n;
  if (t >= here.tokens || k >= here.headDim) {
    return vec4f();
  }
  return xQuad(here.x + t * p.xStride + k, here.headDim - k);
}

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
  let part = id % p.parts;
  let pair = (id / p.parts) % p.pairs;
  let tiles = tilePair(pair);
  let cell = id / p.parts / p.pairs;
  let g = cell % p.nGroups;
  let chunk = cell / p.nGroups;
  let b = chunk / p.nChunks;
  let c = chunk % p.nChunks;
  let t0 = tiles.x * TM;
  let k0 = tiles.y * TM;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  let tokens = min(CHUNK, real - min(real, c * CHUNK));
  let first = b * p.length + c * CHUNK;
  here.headDim = HEAD_DIM;
  here.row = t0;
  here.column = k0;
  here.tokens = tokens;
  // Sums over heads of the invocation's quads.
  //#repeat s 0 STRIPS
  //#repeat i 0 QUADS
  var sum$s$i = vec4f(0.0f);
  //#end
  //#end
  var acc: TileSums;
  let lastHead = min((part + 1u) * HEADS, p.headsPerGroup);
  for (var i = part * HEADS; i < lastHead; i++) {
    let h = g * p.headsPerGroup + i;
    let line = chunk * p.nHeads + h;
    for (var m = tid; m < TM; m += THREADS) {
      rowSteps[m] = decay[line * CHUNK + t0 + m];
      columnSteps[m] = decay[line * CHUNK + k0 + m];
    }
    here.x = p.xOffset + first * p.xStride + h * HEAD_DIM;
    here.dOut = p.dOutOffset + first * p.dOutStride + h * HEAD_DIM;
    tileClear(&acc);
    product(&acc, tid, 0u, 0u, HEAD_DIM, true, true);
    let edgesAt = (line * p.pairs + pair) * 2u * TM;
    // Invocation n has the sums down column n, over the rows of all strips.
    var down = 0.0f;
    //#repeat s 0 STRIPS
    tileFlush(&acc, tid, $s);
    workgroupBarrier();
    //#repeat i 0 QUADS
    if (tid + $i * THREADS < STRIP_ROWS * TM / 4u) {
      let at = quadAt(tid + $i * THREADS, TM / 4u);
      let m = stripRow($s, at.x);
      let n = at.y;
      var w = vec4f(0.0f);
      if (k0 + n <= t0 + m && t0 + m < tokens) {
        let step = rowSteps[m];
        let c0 = columnSteps[n];
        let c1 = columnSteps[n + 1u];
        let c2 = columnSteps[n + 2u];
        let c3 = columnSteps[n + 3u];
        let spans = vec4f(span(step, c0), span(step, c1), span(step, c2), span(step, c3));
        let weight = vec4f(c0.x, c1.x, c2.x, c3.x);
        let line = vec4u(k0 + n) + vec4u(0u, 1u, 2u, 3u);
        let decayed = select(vec4f(), stripQuad(at.x, n) * exp(spans) * weight, line <= vec4u(t0 + m));
        sum$s$i += decayed;
        w = select(vec4f(), decayed * scores[((cell * CHUNK + t0 + m) * CHUNK + k0 + n) / 4u], line < vec4u(t0 + m));
      }
      stripWrite(at.x, n, w);
    }
    //#end
    workgroupBarrier();
    for (var r = tid; r < STRIP_ROWS; r += THREADS) {
      if (tiles.x == tiles.y) {
        var before = 0.0f;
        for (var n = 0u; n < TM; n += 4u) {
          let w = stripQuad(r, n);
          let upTo = vec2f(before + w.x, before + w.x + w.y);
          stripWrite(r, n, vec4f(before, upTo, upTo.y + w.z));
          before = upTo.y + w.z + w.w;
        }
      } else {
        var row = vec4f(0.0f);
        for (var n = 0u; n < TM; n += 4u) {
          row += stripQuad(r, n);
        }
        edges[edgesAt + stripRow($s, r)] = (row.x + row.y) + (row.z + row.w);
      }
    }
    workgroupBarrier();
    if (tid < TM) {
      for (var r = 0u; r < STRIP_ROWS; r++) {
        if (tiles.x != tiles.y || stripRow($s, r) >= tid) {
          down += stripRead(r, tid);
        }
      }
    }
    workgroupBarrier();
    //#end
    if (tid < TM) {
      edges[edgesAt + select(TM, 0u, tiles.x == tiles.y) + tid] = down;
    }
  }
  //#repeat s 0 STRIPS
  //#repeat i 0 QUADS
  if (tid + $i * THREADS < STRIP_ROWS * TM / 4u) {
    let at = quadAt(tid + $i * THREADS, TM / 4u);
    dScores[(((part * p.cells + cell) * CHUNK + t0 + stripRow($s, at.x)) * CHUNK + k0 + at.y) / 4u] = sum$s$i;
  }
  //#end
  //#end
}
