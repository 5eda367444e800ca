// acc += Σ_k A[m, k]·B[k, n] for k from `from` below `to`, slab by slab; the loads of a slab are on their way while the slab
// before it is multiplied. The kernel says what the operands are:
//
//   fetchA(phase, k, m), fetchB(phase, k, n)   a quad as it lies in memory; m, n within the tile, k as counted from `from`; zero
//                                              where there is nothing, beyond `to` too
//   weighA(phase, k, m, quad)                  what it counts
//
// A quad runs along k where `along` says so, else along m (or n): the way its tensor lies in memory. `phase` tells a kernel's
// products apart. Begins with a barrier that its callers may rely on and ends with one.
const QUADS_A: u32 = TK * TM / 4u;
const QUADS_B: u32 = TK * TN / 4u;

// (k, m) of quad e of a slab.
fn slabAt(e: u32, extent: u32, along: bool) -> vec2u {
  if (along) {
    return vec2u(e % (TK / 4u) * 4u, e / (TK / 4u));
  }
  return vec2u(e / (extent / 4u), e % (extent / 4u) * 4u);
}

fn product(
  acc: ptr<function, TileSums>, tid: u32, phase: u32, from0: u32, to: u32, alongA: bool, alongB: bool,
) {
  //#repeat i 0 LOADS_A
  var a$i: vec4f;
  //#end
  //#repeat i 0 LOADS_B
  var b$i: vec4f;
  //#end
  for (var k0 = from0; ; k0 += TK) {
    //#repeat i 0 LOADS_A
    if (QUADS_A % THREADS == 0u || tid + $i * THREADS < QUADS_A) {
      let at = slabAt(tid + $i * THREADS, TM, alongA);
      a$i = fetchA(phase, k0 + at.x, at.y);
    }
    //#end
    //#repeat i 0 LOADS_B
    if (QUADS_B % THREADS == 0u || tid + $i * THREADS < QUADS_B) {
      let at = slabAt(tid + $i * THREADS, TN, alongB);
      b$i = fetchB(phase, k0 + at.x, at.y);
    }
    //#end
    if (k0 > from0) {
      tileStep(acc, tid, alongA, alongB);
    }
    workgroupBarrier();
    if (k0 >= to) {
      break;
    }
    //#repeat i 0 LOADS_A
    if (QUADS_A % THREADS == 0u || tid + $i * THREADS < QUADS_A) {
      let at = slabAt(tid + $i * THREADS, TM, alongA);
      stageA(at.x, at.y, weighA(phase, k0 + at.x, at.y, a$i), alongA);
    }
    //#end
    //#repeat i 0 LOADS_B
    if (QUADS_B % THREADS == 0u || tid + $i * THREADS < QUADS_B) {
      let at = slabAt(tid + $i * THREADS, TN, alongB);
      stageB(at.x, at.y, b$i, alongB);
    }
    //#end
    workgroupBarrier();
  }
}
