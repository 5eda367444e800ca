// SSD, step 3: the state that enters every chunk, or (REVERSE) the gradient of the state that leaves it.
//
//   forward  S ← exp(Σ dt·A)·S + Σ_t weight_t·exp(Σ dt·A behind t)·x_t ⊗ B_t
//   reverse  S ← exp(Σ dt·A)·S + Σ_t exp(Σ dt·A up to t)·dOut_t ⊗ C_t,       from the last chunk to the first
//
//   x (or dOut) [batch, length, nHeads·headDim] · V = B (or C) [batch, length, nGroups·dState]
//   states [batch, nChunks, nHeads, headDim, dState]
//
// A workgroup keeps a TM × TN (headDim × dState) tile of S and walks the chunks. LOCAL: it sees one chunk alone and leaves
// what that adds; ssd-carry then makes states of it, for batches too small to fill the GPU otherwise.
//#include flat
//#include ssd-span
//#include ssd-tile
//#include ssd-stage

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, rowTiles: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, VOffset: u32, VStride: u32, lengthsOffset: u32, stateOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> V: array<f32>;
@group(0) @binding(2) var<storage, read> decay: array<vec4f>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read_write> states: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

var<workgroup> factors: array<f32, CHUNK>;

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
  let n0 = id % p.columnTiles * TN;
  let p0 = (id / p.columnTiles) % p.rowTiles * TM;
  let line = id / p.columnTiles / p.rowTiles;
  let h = line % p.nHeads;
  let g = h / p.headsPerGroup;
  var b = line / p.nHeads;
  var only = 0u;
  if (LOCAL) {
    only = b % p.nChunks;
    b = b / p.nChunks;
  }
  var real = p.length;
  if (HAS_LENGTHS) {
    real = u32(clamp(lengths[p.lengthsOffset + b], 0, i32(p.length)));
  }

  tileClear(&acc);
  if (HAS_STATE && !LOCAL) {
    for (var e = tid; e < TM * TN / 4u; e += THREADS) {
      let at = alongM(e, TN);
      let row = p0 + at.x;
      let n = n0 + at.y;
      var value = vec4f(0.0f);
      if (row < HEAD_DIM && n < STATES) {
        let o = p.stateOffset + ((b * p.nHeads + h) * HEAD_DIM + row) * STATES + n;
        let s = quad(n, STATES);
        let four = vec4f(state[o + s.x], state[o + s.y], state[o + s.z], state[o + s.w]);
        value = select(vec4f(), four, within(n, STATES));
      }
      tileWriteQuad(at.x, at.y, value);
    }
    workgroupBarrier();
    tileLoad(&acc, tid);
    workgroupBarrier();
  }

  let rounds = select(p.nChunks, 1u, LOCAL);
  for (var i = 0u; i < rounds; i++) {
    var chunk = only;
    if (!LOCAL) {
      chunk = select(i, p.nChunks - 1u - i, REVERSE);
      tileFlush(&acc, tid);
      workgroupBarrier();
      let at = p.statesOffset + ((b * p.nChunks + chunk) * p.nHeads + h) * HEAD_DIM * STATES;
      for (var e = tid; e < TM * TN; e += THREADS) {
        let row = p0 + e / TN;
        let n = n0 + e % TN;
        if (row < HEAD_DIM && n < STATES) {
          states[at + row * STATES + n] = tileRead(e / TN, e % TN);
        }
      }
      // What the last chunk adds is only wanted by a state that is kept.
      if (i + 1u == rounds && !HAS_STATE) {
        break;
      }
    }
    let line0 = ((b * p.nChunks + chunk) * p.nHeads + h) * CHUNK;
    let end = decay[line0 + CHUNK - 1u];
    for (var t = tid; t < CHUNK; t += THREADS) {
      let d = decay[line0 + t];
      factors[t] = select(d.x * exp(span(end, d)), fadeOf(d), REVERSE);
    }
    tileScale(&acc, fadeOf(end));
    workgroupBarrier();
    // A slab may reach beyond the chunk.
    let last = min(real, (chunk + 1u) * CHUNK);
    for (var t0 = 0u; t0 < CHUNK; t0 += TK) {
      if (chunk * CHUNK + t0 >= last) {
        break;
      }
      for (var e = tid; e < TK * TM / 4u; e += THREADS) {
        let at = alongM(e, TM);
        let t = chunk * CHUNK + t0 + at.x;
        let column = p0 + at.y;
        var value = vec4f(0.0f);
        if (t < last && column < HEAD_DIM) {
          let o = p.xOffset + (b * p.length + t) * p.xStride + h * HEAD_DIM + column;
          let s = quad(column, HEAD_DIM);
          let four = vec4f(x[o + s.x], x[o + s.y], x[o + s.z], x[o + s.w]);
          value = select(vec4f(), four, within(column, HEAD_DIM)) * factors[t0 + at.x];
        }
        stageA(at.x, at.y, value);
      }
      for (var e = tid; e < TK * TN / 4u; e += THREADS) {
        let at = alongM(e, TN);
        let t = chunk * CHUNK + t0 + at.x;
        let column = n0 + at.y;
        var value = vec4f(0.0f);
        if (t < last && column < STATES) {
          let o = p.VOffset + (b * p.length + t) * p.VStride + g * STATES + column;
          let s = quad(column, STATES);
          value = select(vec4f(), vec4f(V[o + s.x], V[o + s.y], V[o + s.z], V[o + s.w]), within(column, STATES));
        }
        stageB(at.x, at.y, value);
      }
      workgroupBarrier();
      tileStep(&acc, tid);
      workgroupBarrier();
    }
  }

  if (LOCAL || HAS_STATE) {
    tileFlush(&acc, tid);
    workgroupBarrier();
    for (var e = tid; e < TM * TN; e += THREADS) {
      let row = p0 + e / TN;
      let n = n0 + e % TN;
      if (row < HEAD_DIM && n < STATES) {
        let value = tileRead(e / TN, e % TN);
        if (LOCAL) {
          states[p.statesOffset + (((b * p.nChunks + only) * p.nHeads + h) * HEAD_DIM + row) * STATES + n] = value;
        } else {
          state[p.stateOffset + ((b * p.nHeads + h) * HEAD_DIM + row) * STATES + n] = value;
        }
      }
    }
  }
}
