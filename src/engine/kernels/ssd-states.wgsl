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
//#include ssd-product
//#include quad x
//#include quad V
//#include quad state
//#include quad-put state
//#include quad-put states

struct Params {
  headDim: u32, dState: u32,
  total: u32, length: u32, nChunks: u32, nHeads: u32, headsPerGroup: u32, rowTiles: u32, columnTiles: u32,
  xOffset: u32, xStride: u32, VOffset: u32, VStride: u32, lengthsOffset: u32, stateOffset: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<CELL>;
@group(0) @binding(1) var<storage, read> V: array<CELL>;
@group(0) @binding(2) var<storage, read> decay: array<vec4f>;
@group(0) @binding(3) var<storage, read> lengths: array<i32>;
@group(0) @binding(4) var<storage, read_write> states: array<CELL>;
@group(0) @binding(5) var<storage, read_write> state: array<CELL>;
@group(0) @binding(6) var<uniform> p: Params;

var<workgroup> factors: array<f32, CHUNK>;

struct Place {
  // Columns of x and V from the tile's first one to the end of the head or group.
  rows: u32, columns: u32,
  // Elements before the chunk's first token at the tile's first column; tokens of the chunk.
  x: u32, V: u32, tokens: u32,
}
var<private> here: Place;

fn fetchA(phase: u32, t: u32, m: u32) -> vec4f {
  if (t >= here.tokens || m >= here.rows) {
    return vec4f();
  }
  return xQuad(here.x + t * p.xStride + m, here.rows - m);
}
fn weighA(phase: u32, t: u32, m: u32, quad: vec4f) -> vec4f {
  return quad * factors[min(t, CHUNK - 1u)];
}
fn fetchB(phase: u32, t: u32, n: u32) -> vec4f {
  if (t >= here.tokens || n >= here.columns) {
    return vec4f();
  }
  return VQuad(here.V + t * p.VStride + n, here.columns - n);
}

// Writes the tile to `states`, or (`last`) to `state`, from element `to` on.
fn keep(acc: ptr<function, TileSums>, tid: u32, to: u32, stride: u32, last: bool) {
  for (var strip = 0u; strip < STRIPS; strip++) {
    tileFlush(acc, tid, strip);
    workgroupBarrier();
    for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
      let at = quadAt(e, TN / 4u);
      let row = stripRow(strip, at.x);
      if (row < here.rows && at.y < here.columns) {
        let o = to + row * stride + at.y;
        if (last) {
          statePut(o, here.columns - at.y, stripQuad(at.x, at.y));
        } else {
          statesPut(o, here.columns - at.y, stripQuad(at.x, at.y));
        }
      }
    }
    workgroupBarrier();
  }
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
  here.rows = HEAD_DIM - min(p0, HEAD_DIM);
  here.columns = STATES - min(n0, STATES);
  let tileAt = p0 * STATES + n0;
  let stateAt = p.stateOffset + (b * p.nHeads + h) * HEAD_DIM * STATES + tileAt;

  var acc: TileSums;
  tileClear(&acc);
  if (HAS_STATE && !LOCAL) {
    for (var strip = 0u; strip < STRIPS; strip++) {
      for (var e = tid; e < STRIP_ROWS * TN / 4u; e += THREADS) {
        let at = quadAt(e, TN / 4u);
        let row = stripRow(strip, at.x);
        var value = vec4f(0.0f);
        if (row < here.rows && at.y < here.columns) {
          value = stateQuad(stateAt + row * STATES + at.y, here.columns - at.y);
        }
        stripWrite(at.x, at.y, value);
      }
      workgroupBarrier();
      tileLoad(&acc, tid, strip);
      workgroupBarrier();
    }
  }

  let rounds = select(p.nChunks, 1u, LOCAL);
  for (var i = 0u; i < rounds; i++) {
    var chunk = only;
    if (!LOCAL) {
      chunk = select(i, p.nChunks - 1u - i, REVERSE);
      let to = p.statesOffset + ((b * p.nChunks + chunk) * p.nHeads + h) * HEAD_DIM * STATES + tileAt;
      keep(&acc, tid, to, STATES, false);
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
    let first = b * p.length + chunk * CHUNK;
    let tokens = min(CHUNK, real - min(real, chunk * CHUNK));
    here.x = p.xOffset + first * p.xStride + h * HEAD_DIM + p0;
    here.V = p.VOffset + first * p.VStride + g * STATES + n0;
    here.tokens = tokens;
    product(&acc, tid, 0u, 0u, tokens, false, false);
  }

  if (LOCAL) {
    let to = p.statesOffset + ((b * p.nChunks + only) * p.nHeads + h) * HEAD_DIM * STATES + tileAt;
    keep(&acc, tid, to, STATES, false);
  } else if (HAS_STATE) {
    keep(&acc, tid, stateAt, STATES, true);
  }
}
