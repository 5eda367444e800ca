// A TM × TN tile of a matrix product on plain f32 arithmetic: TX × TY invocations with 4·MV × 4·NV elements each.
//
// Use: `var acc: TileSums;` tileClear; then for every TK terms stageA(k, m, ·) and stageB(k, n, ·) of the whole slab
// (four neighbouring m or n at a time), barrier, tileStep, barrier;
// then tileFlush, barrier, tileRead…, barrier. Slabs and the flushed tile share memory. `tid` < THREADS.

const THREADS: u32 = TX * TY;
const A_VECS: u32 = TM / 4u + 1u;
const B_VECS: u32 = TN / 4u + 1u;
const B_AT: u32 = TK * A_VECS;
const OUT_STRIDE: u32 = TN + 4u;

var<workgroup> tilePool: array<vec4f, max(TK * (A_VECS + B_VECS), TM * B_VECS)>;
alias TileSums = array<vec4f, 4u * MV * NV>;

fn stageA(k: u32, m: u32, value: vec4f) {
  tilePool[k * A_VECS + m / 4u] = value;
}
fn stageB(k: u32, n: u32, value: vec4f) {
  tilePool[B_AT + k * B_VECS + n / 4u] = value;
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

fn tileStep(acc: ptr<function, TileSums>, tid: u32) {
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

fn tileFlush(acc: ptr<function, TileSums>, tid: u32) {
  let ty = tid / TX;
  let tx = tid % TX;
  //#repeat i 0 MV
  //#repeat j 0 NV
  //#repeat c 0 4
  tilePool[((ty + $i * TY) * 4u + $c) * B_VECS + tx + $j * TX] = (*acc)[($i * 4u + $c) * NV + $j];
  //#end
  //#end
  //#end
}

// The reverse of tileFlush.
fn tileLoad(acc: ptr<function, TileSums>, tid: u32) {
  let ty = tid / TX;
  let tx = tid % TX;
  //#repeat i 0 MV
  //#repeat j 0 NV
  //#repeat c 0 4
  (*acc)[($i * 4u + $c) * NV + $j] = tilePool[((ty + $i * TY) * 4u + $c) * B_VECS + tx + $j * TX];
  //#end
  //#end
  //#end
}

fn tileRead(m: u32, n: u32) -> f32 {
  return tilePool[m * B_VECS + n / 4u][n % 4u];
}
// Four neighbouring columns; n is a multiple of 4.
fn tileReadQuad(m: u32, n: u32) -> vec4f {
  return tilePool[m * B_VECS + n / 4u];
}
fn tileWriteQuad(m: u32, n: u32, value: vec4f) {
  tilePool[m * B_VECS + n / 4u] = value;
}
