// The same tile as ssd-tile-f32 on subgroup matrices of 16 × 16 × 16: operands are rounded to f16, sums are f32.
// SX × SY subgroups of 32 share the tile; each has MB × NB blocks. The functions mean what they mean there.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);

const THREADS: u32 = 32u * SX * SY;
const A_STRIDE: u32 = TM + 8u;
const B_STRIDE: u32 = TN + 8u;
const OUT_STRIDE: u32 = TN + 4u;

var<workgroup> slabA: array<f16, TK * A_STRIDE>;
var<workgroup> slabB: array<f16, TK * B_STRIDE>;
var<workgroup> tileOut: array<f32, TM * OUT_STRIDE>;
var<private> tileSums: array<subgroup_matrix_result<f32, 16, 16>, MB * NB>;

fn stageA(k: u32, m: u32, value: vec4f) {
  let rounded = vec4<f16>(value);
  let at = k * A_STRIDE + m;
  slabA[at] = rounded.x;
  slabA[at + 1u] = rounded.y;
  slabA[at + 2u] = rounded.z;
  slabA[at + 3u] = rounded.w;
}
fn stageB(k: u32, n: u32, value: vec4f) {
  let rounded = vec4<f16>(value);
  let at = k * B_STRIDE + n;
  slabB[at] = rounded.x;
  slabB[at + 1u] = rounded.y;
  slabB[at + 2u] = rounded.z;
  slabB[at + 3u] = rounded.w;
}

fn tileClear() {
  //#repeat i 0 MB
  //#repeat j 0 NB
  tileSums[$i * NB + $j] = subgroup_matrix_result<f32, 16, 16>();
  //#end
  //#end
}

fn tileScale(factor: f32) {
  //#repeat i 0 MB
  //#repeat j 0 NB
  tileSums[$i * NB + $j] = subgroupMatrixScalarMultiply(tileSums[$i * NB + $j], factor);
  //#end
  //#end
}

// First row and column of the subgroup's blocks.
fn tileRow(tid: u32) -> u32 {
  return (tid / 32u) / SX * (16u * MB);
}
fn tileColumn(tid: u32) -> u32 {
  return (tid / 32u) % SX * (16u * NB);
}

fn tileStep(tid: u32) {
  let m0 = tileRow(tid);
  let n0 = tileColumn(tid);
  for (var k = 0u; k < TK; k += 16u) {
    //#repeat i 0 MB
    let a$i = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>>(&slabA, k * A_STRIDE + m0 + $i * 16u, true, A_STRIDE);
    //#end
    //#repeat j 0 NB
    let b$j = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>>(&slabB, k * B_STRIDE + n0 + $j * 16u, false, B_STRIDE);
    //#end
    //#repeat i 0 MB
    //#repeat j 0 NB
    tileSums[$i * NB + $j] = subgroupMatrixMultiplyAccumulate(a$i, b$j, tileSums[$i * NB + $j]);
    //#end
    //#end
  }
}

fn tileFlush(tid: u32) {
  let at = tileRow(tid) * OUT_STRIDE + tileColumn(tid);
  //#repeat i 0 MB
  //#repeat j 0 NB
  subgroupMatrixStore(&tileOut, at + $i * 16u * OUT_STRIDE + $j * 16u, tileSums[$i * NB + $j], false, OUT_STRIDE);
  //#end
  //#end
}

fn tileLoad(tid: u32) {
  let at = tileRow(tid) * OUT_STRIDE + tileColumn(tid);
  //#repeat i 0 MB
  //#repeat j 0 NB
  tileSums[$i * NB + $j] = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>>(
    &tileOut, at + $i * 16u * OUT_STRIDE + $j * 16u, false, OUT_STRIDE);
  //#end
  //#end
}

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
