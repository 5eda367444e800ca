// SSD, step 2: scores[t, k] = C_t · B_k within each chunk, shared by the heads of a group; tiles on and below the diagonal.
//
//   B, C [batch, length, nGroups·dState] → scores [batch, nChunks, nGroups, CHUNK, CHUNK]
//#include flat
//#include ssd-tile
//#include ssd-stage
//#include ssd-pair

struct Params {
  dState: u32,
  total: u32, length: u32, nChunks: u32, nGroups: u32, pairs: u32,
  BOffset: u32, BStride: u32, COffset: u32, CStride: u32, lengthsOffset: u32,
}

@group(0) @binding(0) var<storage, read> B: array<f32>;
@group(0) @binding(1) var<storage, read> C: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

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
  var acc: TileSums;
  let tiles = tilePair(id % p.pairs);
  let cell = id / p.pairs;
  let g = cell % p.nGroups;
  let b = cell / p.nGroups / p.nChunks;
  let first = (cell / p.nGroups) % p.nChunks * CHUNK;
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }
  // A slab may reach beyond the chunk.
  real = min(real, first + CHUNK);
  tileClear(&acc);
  for (var n0 = 0u; n0 < STATES; n0 += TK) {
    for (var e = tid; e < TK * TM / 4u; e += THREADS) {
      let at = alongK(e);
      let t = first + tiles.x * TM + at.y;
      let column = n0 + at.x;
      var value = vec4f(0.0f);
      if (t < real && column < STATES) {
        let o = p.COffset + (b * p.length + t) * p.CStride + g * STATES + column;
        let s = quadTo(t, real) * p.CStride;
        value = select(vec4f(), vec4f(C[o + s.x], C[o + s.y], C[o + s.z], C[o + s.w]), withinTo(t, real));
      }
      stageA(at.x, at.y, value);
    }
    for (var e = tid; e < TK * TN / 4u; e += THREADS) {
      let at = alongK(e);
      let t = first + tiles.y * TN + at.y;
      let column = n0 + at.x;
      var value = vec4f(0.0f);
      if (t < real && column < STATES) {
        let o = p.BOffset + (b * p.length + t) * p.BStride + g * STATES + column;
        let s = quadTo(t, real) * p.BStride;
        value = select(vec4f(), vec4f(B[o + s.x], B[o + s.y], B[o + s.z], B[o + s.w]), withinTo(t, real));
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
    let t = tiles.x * TM + e / TN;
    scores[(cell * CHUNK + t) * CHUNK + tiles.y * TN + e % TN] = tileRead(e / TN, e % TN);
  }
}
