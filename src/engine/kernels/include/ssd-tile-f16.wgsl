// The same tile as ssd-tile-f32 on subgroup matrices of 16 × 16 × 16: operands are rounded to f16, sums are f32.
// SX × SY subgroups of 32 share the tile; each has MB × NB blocks. The functions mean what they mean there. A slab lies as its
// quads came, so that every copy moves four halves at once: [k][m] or [m][k] (matrices are then loaded by column or by row). An
// element is such a quad, in which offsets and pitches of matrix loads count; 16 bytes more in a row keep the rows that one
// load touches in different banks. A strip is one row of every subgroup's blocks; slabs and the strip share memory, which is
// what limits how many workgroups a GPU keeps at work.
//
// EMULATED puts plain loops in place of the matrix units, for tests on adapters without them: same slabs, same rounding.
const THREADS: u32 = 32u * SX * SY;
const A_PITCH: u32 = TM / 4u + 2u;
const B_PITCH: u32 = TN / 4u + 2u;
const K_PITCH: u32 = TK / 4u + 2u;
const B_AT: u32 = max(TK * A_PITCH, TM * K_PITCH);
const STRIP_ROWS: u32 = TM / STRIPS;
// In floats; two to an element of the pool.
const OUT_STRIDE: u32 = TN + 4u;

fn stripRow(strip: u32, r: u32) -> u32 {
  return r / 16u * (16u * STRIPS) + strip * 16u + r % 16u;
}

var<workgroup> pool: array<vec2<u32>, max(B_AT + max(TK * B_PITCH, TN * K_PITCH), STRIP_ROWS * OUT_STRIDE / 2u)>;

fn halves(value: vec4f) -> vec2<u32> {
  return vec2<u32>(pack2x16float(value.xy), pack2x16float(value.zw));
}
fn stageA(k: u32, m: u32, value: vec4f, along: bool) {
  pool[select(k * A_PITCH + m / 4u, m * K_PITCH + k / 4u, along)] = halves(value);
}
fn stageB(k: u32, n: u32, value: vec4f, along: bool) {
  pool[B_AT + select(k * B_PITCH + n / 4u, n * K_PITCH + k / 4u, along)] = halves(value);
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
fn leftOf(k: u32, m: u32, along: bool) -> f32 {
  if (along) {
    return halfOf(pool[m * K_PITCH + k / 4u], k % 4u);
  }
  return halfOf(pool[k * A_PITCH + m / 4u], m % 4u);
}
fn rightOf(k: u32, n: u32, along: bool) -> f32 {
  if (along) {
    return halfOf(pool[B_AT + n * K_PITCH + k / 4u], k % 4u);
  }
  return halfOf(pool[B_AT + k * B_PITCH + n / 4u], n % 4u);
}
fn tileStep(acc: ptr<function, TileSums>, tid: u32, alongA: bool, alongB: bool) {
  for (var i = 0u; i < OWN; i++) {
    let m = (tid * OWN + i) / TN;
    let n = (tid * OWN + i) % TN;
    for (var k = 0u; k < TK; k++) {
      (*acc)[i] += leftOf(k, m, alongA) * rightOf(k, n, alongB);
    }
  }
}
// The invocation's elements of a strip are those of its rows.
fn stripOf(i: u32, tid: u32) -> vec2u {
  let m = (tid * OWN + i) / TN;
  return vec2u(m / 16u % STRIPS, m / (16u * STRIPS) * 16u + m % 16u);
}
fn tileFlush(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  for (var i = 0u; i < OWN; i++) {
    let row = stripOf(i, tid);
    if (row.x == strip) {
      let at = row.y * OUT_STRIDE + (tid * OWN + i) % TN;
      pool[at / 2u][at % 2u] = bitcast<u32>((*acc)[i]);
    }
  }
}
fn tileLoad(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  for (var i = 0u; i < OWN; i++) {
    let row = stripOf(i, tid);
    if (row.x == strip) {
      (*acc)[i] = stripRead(row.y, (tid * OWN + i) % TN);
    }
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

fn tileStep(acc: ptr<function, TileSums>, tid: u32, alongA: bool, alongB: bool) {
  let m0 = tileRow(tid);
  let n0 = tileColumn(tid);
  for (var k = 0u; k < TK; k += 16u) {
    //#repeat i 0 MB
    var a$i: Left;
    if (alongA) {
      a$i = subgroupMatrixLoad<Left, row_major>(&pool, (m0 + $i * 16u) * K_PITCH + k / 4u, K_PITCH);
    } else {
      a$i = subgroupMatrixLoad<Left, col_major>(&pool, k * A_PITCH + m0 / 4u + $i * 4u, A_PITCH);
    }
    //#end
    //#repeat j 0 NB
    var b$j: Right;
    if (alongB) {
      b$j = subgroupMatrixLoad<Right, col_major>(&pool, B_AT + (n0 + $j * 16u) * K_PITCH + k / 4u, K_PITCH);
    } else {
      b$j = subgroupMatrixLoad<Right, row_major>(&pool, B_AT + k * B_PITCH + n0 / 4u + $j * 4u, B_PITCH);
    }
    //#end
    //#repeat i 0 MB
    //#repeat j 0 NB
    (*acc)[$i * NB + $j] = subgroupMatrixMultiplyAccumulate(a$i, b$j, (*acc)[$i * NB + $j]);
    //#end
    //#end
  }
}

// First element of the subgroup's blocks in the strip.
fn stripAt(tid: u32) -> u32 {
  return (tid / 32u / SX * 16u * OUT_STRIDE + tileColumn(tid)) / 2u;
}
fn tileFlush(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  let at = stripAt(tid);
  //#repeat i 0 MB
  if (strip == $i) {
    //#repeat j 0 NB
    subgroupMatrixStore<row_major>(&pool, at + $j * 8u, (*acc)[$i * NB + $j], OUT_STRIDE / 2u);
    //#end
  }
  //#end
}
fn tileLoad(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  let at = stripAt(tid);
  //#repeat i 0 MB
  if (strip == $i) {
    //#repeat j 0 NB
    (*acc)[$i * NB + $j] = subgroupMatrixLoad<Block, row_major>(&pool, at + $j * 8u, OUT_STRIDE / 2u);
    //#end
  }
  //#end
}
//#end

fn stripRead(r: u32, n: u32) -> f32 {
  let at = r * OUT_STRIDE + n;
  return bitcast<f32>(pool[at / 2u][at % 2u]);
}
// Four neighbouring columns; n is a multiple of 4.
fn stripQuad(r: u32, n: u32) -> vec4f {
  let at = (r * OUT_STRIDE + n) / 2u;
  return bitcast<vec4f>(vec4<u32>(pool[at], pool[at + 1u]));
}
fn stripWrite(r: u32, n: u32, value: vec4f) {
  let at = (r * OUT_STRIDE + n) / 2u;
  pool[at] = bitcast<vec2<u32>>(value.xy);
  pool[at + 1u] = bitcast<vec2<u32>>(value.zw);
}
