// A TM × TN tile of a matrix product on plain f32 arithmetic: TX × TY invocations with 4·MV × 4·NV elements each.
//
// Use: `var acc: TileSums;` tileClear; then for every TK terms stageA(k, m, ·) and stageB(k, n, ·) of the whole slab, four
// neighbouring m or n at a time or, with `along`, four neighbouring k; barrier, tileStep (`along` as staged), barrier: this
// is ssd-product. Then for each of the STRIPS, in which row r is the tile's row stripRow(strip, r): tileFlush, barrier,
// stripRead…, barrier. Slabs and the strip share memory. `tid` < THREADS.

const THREADS: u32 = TX * TY;
const A_VECS: u32 = TM / 4u + 1u;
const B_VECS: u32 = TN / 4u + 1u;
const B_AT: u32 = TK * A_VECS;
const STRIP_ROWS: u32 = TM / STRIPS;

fn stripRow(strip: u32, r: u32) -> u32 {
  return strip * STRIP_ROWS + r;
}

var<workgroup> tilePool: array<vec4f, max(TK * (A_VECS + B_VECS), STRIP_ROWS * B_VECS)>;
alias TileSums = array<vec4f, 4u * MV * NV>;

// Slabs lie [k][m] and [k][n] however they come.
fn stageA(k: u32, m: u32, value: vec4f, along: bool) {
  if (along) {
    //#repeat c 0 4
    tilePool[(k + $c) * A_VECS + m / 4u][m % 4u] = value[$c];
    //#end
  } else {
    tilePool[k * A_VECS + m / 4u] = value;
  }
}
fn stageB(k: u32, n: u32, value: vec4f, along: bool) {
  if (along) {
    //#repeat c 0 4
    tilePool[B_AT + (k + $c) * B_VECS + n / 4u][n % 4u] = value[$c];
    //#end
  } else {
    tilePool[B_AT + k * B_VECS + n / 4u] = value;
  }
}

fn tileClear(acc: ptr<function, TileSums>) {
  //#repeat i 0 MV
  //#repeat j 0 NV
  //#repeat c 0 4
  (*acc)[($i * 4u + $c) * NV + $j] = vec4f(0.0f);
  //#end
  //#end
  //#end
}

fn tileScale(acc: ptr<function, TileSums>, factor: f32) {
  //#repeat i 0 MV
  //#repeat j 0 NV
  //#repeat c 0 4
  (*acc)[($i * 4u + $c) * NV + $j] *= factor;
  //#end
  //#end
  //#end
}

fn tileStep(acc: ptr<function, TileSums>, tid: u32, alongA: bool, alongB: bool) {
  let ty = tid / TX;
  let tx = tid % TX;
  for (var k = 0u; k < TK; k++) {
    //#repeat i 0 MV
    let a$i = tilePool[k * A_VECS + ty + $i * TY];
    //#end
    //#repeat j 0 NV
    let b$j = tilePool[B_AT + k * B_VECS + tx + $j * TX];
    //#end
    //#repeat i 0 MV
    //#repeat j 0 NV
    //#repeat c 0 4
    (*acc)[($i * 4u + $c) * NV + $j] += a$i[$c] * b$j;
    //#end
    //#end
    //#end
  }
}

fn tileFlush(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  let at = tid / TX * 4u * B_VECS + tid % TX;
  //#repeat i 0 MV
  if (strip == $i) {
    //#repeat j 0 NV
    //#repeat c 0 4
    tilePool[at + $c * B_VECS + $j * TX] = (*acc)[($i * 4u + $c) * NV + $j];
    //#end
    //#end
  }
  //#end
}

// The reverse of tileFlush.
fn tileLoad(acc: ptr<function, TileSums>, tid: u32, strip: u32) {
  let at = tid / TX * 4u * B_VECS + tid % TX;
  //#repeat i 0 MV
  if (strip == $i) {
    //#repeat j 0 NV
    //#repeat c 0 4
    (*acc)[($i * 4u + $c) * NV + $j] = tilePool[at + $c * B_VECS + $j * TX];
    //#end
    //#end
  }
  //#end
}

fn stripRead(r: u32, n: u32) -> f32 {
  return tilePool[r * B_VECS + n / 4u][n % 4u];
}
// Four neighbouring columns; n is a multiple of 4.
fn stripQuad(r: u32, n: u32) -> vec4f {
  return tilePool[r * B_VECS + n / 4u];
}
fn stripWrite(r: u32, n: u32, value: vec4f) {
  tilePool[r * B_VECS + n / 4u] = value;
}
