// SSD, step 2: scores[t, k] = C_t · B_k within each chunk, shared by the heads of a group; tiles on and below the diagonal.
//
//   B, C [batch, length, nGroups·dState] → scores [batch, nChunks, nGroups, CHUNK, CHUNK]
//#include flat
//#include ssd-tile
//#include ssd-pair
//#include ssd-product
//#include quad B
//#include quad C

struct Params {
  dState: u32,
  total: u32, length: u32, nChunks: u32, nGroups: u32, pairs: u32,
  BOffset: u32, BStride: u32, COffset: u32, CStride: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> B: array<CELL>;
@group(0) @binding(1) var<storage, read> C: array<CELL>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read_write> scores: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;

struct Place {
  states: u32,
  // First token of the row and column tile, and the first that is not real; elements before the chunk's sequence and group.
  row: u32, column: u32, real: u32, C: u32, B: u32,
}
var<private> here: Place;

fn fetchA(phase: u32, n: u32, m: u32) -> vec4f {
  let t = here.row + m;
  if (t >= here.real || n >= here.states) {
    return vec4f();
  }
  return CQuad(here.C + t * p.CStride + n, here.states - n);
}
fn fetchB(phase: u32, n: u32, m: u32) -> vec4f {
  let t = here.column + m;
  if (t >= here.real || n >= here.states) {
    return vec4f();
  }
  return BQuad(here.B + t * p.BStride + n, here.states - n);
}
fn weighA(phase: u32, n: u32, m: u32, quad: vec4f) -> vec4f {
  return quad;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
//#if DYNAMIC
  let STATES = p.dState;
//#end
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  let tiles = tilePair(id % p.pairs);
  let cell = id / p.pairs;
  let g = cell % p.nGroups;
  let b = cell / p.nGroups / p.nChunks;
  let first = (cell / p.nGroups) % p.nChunks * CHUNK;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  here = Place(
    STATES, first + tiles.x * TM, first + tiles.y * TN, real,
    p.COffset + b * p.length * p.CStride + g * STATES, p.BOffset + b * p.length * p.BStride + g * STATES);
  var acc: TileSums;
  tileClear(&acc);
  product(&acc, tid, 0u, 0u, STATES, true, true);
  for (var strip = 0u; strip < STRIPS; strip++) {
    tileFlush(&acc, tid, strip);
    workgroupBarrier();
    for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
      let at = quadAt(e, TN / 4u);
      let t = tiles.x * TM + stripRow(strip, at.x);
      scores[((cell * CHUNK + t) * CHUNK + tiles.y * TN + at.y) / 4u] = stripQuad(at.x, at.y);
    }
    workgroupBarrier();
  }
}
