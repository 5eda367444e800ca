// The same tile as ssd-tile-f32 on subgroup matrices of 16 × 16 × 16: operands are rounded to f16, sums are f32.
// SX × SY subgroups of 32 share the tile; each has MB × NB blocks. The functions mean what they mean there. A slab holds four
// neighbouring halves in a vec2<u32>, in which offsets and pitches of matrix loads count; a row more of 16 bytes keeps the
// rows that one load touches in different banks.
//
// EMULATED puts plain loops in place of the matrix units, for tests on adapters without them: same slabs, same rounding.
const THREADS: u32 = 32u * SX * SY;
const A_PITCH: u32 = TM / 4u + 2u;
const B_PITCH: u32 = TN / 4u + 2u;
const OUT_STRIDE: u32 = TN + 4u;

var<workgroup> slabA: array<vec2<u32>, TK * A_PITCH>;
var<workgroup> slabB: array<vec2<u32>, TK * B_PITCH>;
var<workgroup> tileOut: array<f32, TM * OUT_STRIDE>;

fn halves(value: vec4f) -> vec2<u32> {
  return vec2<u32>(pack2x16float(value.xy), pack2x16float(value.zw));
}
fn stageA(k: u32, m: u32, value: vec4f) {
  slabA[k * A_PITCH + m / 4u] = halves(value);
}
fn stageB(k: u32, n: u32, value: vec4f) {
  slabB[k * B_PITCH + n / 4u] = halves(value);
}

//#if EMULATED
const OWN: u32 = TM * TN / THREADS;
alias TileSums = array<f32, OWN>;

fn tileClear(acc: ptr<function, TileSums>) {
  for (var i = 0u; i < OWN; i++) {
    (*acc)[i] = 0.0f;
  }
}
fn tileScale(acc: ptr<function, TileSums>, factor: f32) {
  for (var i = 0u; i < OWN; i++) {
    (*acc)[i] *= factor;
  }
}
fn halfOf(quad: vec2<u32>, i: u32) -> f32 {
  return unpack2x16float(quad[i / 2u])[i % 2u];
}
fn tileStep(acc: ptr<function, TileSums>, tid: u32) {
  for (var i = 0u; i < OWN; i++) {
    let m = (tid * OWN + i) / TN;
    let n = (tid * OWN + i) % TN;
    for (var k = 0u; k < TK; k++) {
      (*acc)[i] += halfOf(slabA[k * A_PITCH + m / 4u], m % 4u) * halfOf(slabB[k * B_PITCH + n / 4u], n % 4u);
    }
  }
}
fn tileFlush(acc: ptr<function, TileSums>, tid: u32) {
  for (var i = 0u; i < OWN; i++) {
    tileOut[(tid * OWN + i) / TN * OUT_STRIDE + (tid * OWN + i) % TN] = (*acc)[i];
  }
}
fn tileLoad(acc: ptr<function, TileSums>, tid: u32) {
  for (var i = 0u; i < OWN; i++) {
    (*acc)[i] = tileOut[(tid * OWN + i) / TN * OUT_STRIDE + (tid * OWN + i) % TN];
  }
}
//#else
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// All branches around matrix operations are uniform, but through values Tint cannot see to be so.
diagnostic(off, chromium.subgroup_matrix_uniformity);
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Block = subgroup_matrix_result<f32, 16, 16>;

alias TileSums = array<Block, MB * NB>;

fn tileClear(acc: ptr<function, TileSums>) {
  //#repeat i 0 MB
  //#repeat j 0 NB
  (*acc)[$i * NB + $j] = Block();
  //#end
  //#end
}

fn tileScale(acc: ptr<function, TileSums>, factor: f32) {
  //#repeat i 0 MB
  //#repeat j 0 NB
  (*acc)[$i * NB + $j] = subgroupMatrixScalarMultiply((*acc)[$i * NB + $j], factor);
  //#end
  //#end
}

// First row and column of the subgroup's blocks.
fn tileRow(tid: u32) -> u32 {
  return tid / 32u / SX * (16u * MB);
}
fn tileColumn(tid: u32) -> u32 {
  return tid / 32u % SX * (16u * NB);
}

fn tileStep(acc: ptr<function, TileSums>, tid: u32) {
  let m0 = tileRow(tid) / 4u;
  let n0 = tileColumn(tid) / 4u;
  for (var k = 0u; k < TK; k += 16u) {
    //#repeat i 0 MB
    let a$i = subgroupMatrixLoad<Left, col_major>(&slabA, k * A_PITCH + m0 + $i * 4u, A_PITCH);
    //#end
    //#repeat j 0 NB
    let b$j = subgroupMatrixLoad<Right, row_major>(&slabB, k * B_PITCH + n0 + $j * 4u, B_PITCH);
    //#end
    //#repeat i 0 MB
    //#repeat j 0 NB
    (*acc)[$i * NB + $j] = subgroupMatrixMultiplyAccumulate(a$i, b$j, (*acc)[$i * NB + $j]);
    //#end
    //#end
  }
}

fn tileFlush(acc: ptr<function, TileSums>, tid: u32) {
  let at = tileRow(tid) * OUT_STRIDE + tileColumn(tid);
  //#repeat i 0 MB
  //#repeat j 0 NB
  subgroupMatrixStore<row_major>(&tileOut, at + $i * 16u * OUT_STRIDE + $j * 16u, (*acc)[$i * NB + $j], OUT_STRIDE);
  //#end
  //#end
}

fn tileLoad(acc: ptr<function, TileSums>, tid: u32) {
  let at = tileRow(tid) * OUT_STRIDE + tileColumn(tid);
  //#repeat i 0 MB
  //#repeat j 0 NB
  (*acc)[$i * NB + $j] = subgroupMatrixLoad<Block, row_major>(
    &tileOut, at + $i * 16u * OUT_STRIDE + $j * 16u, OUT_STRIDE);
  //#end
  //#end
}
//#end

fn tileRead(m: u32, n: u32) -> f32 {
  return tileOut[m * OUT_STRIDE + n];
}
fn tileReadQuad(m: u32, n: u32) -> vec4f {
  let at = m * OUT_STRIDE + n;
  return vec4f(tileOut[at], tileOut[at + 1u], tileOut[at + 2u], tileOut[at + 3u]);
}
fn tileWriteQuad(m: u32, n: u32, value: vec4f) {
  let at = m * OUT_STRIDE + n;
  tileOut[at] = value.x;
  tileOut[at + 1u] = value.y;
  tileOut[at + 2u] = value.z;
  tileOut[at + 3u] = value.w;
}
