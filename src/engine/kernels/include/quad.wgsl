// $1Quad(at, left): four neighbouring numbers of the binding $1 from element `at` on, of which `left` (at least one) are
// there; the others read as zero. Whole where VECTOR says that all offsets, strides and extents are multiples of four; one
// by one where not, those that are not there folded onto the last one, so that no load leaves its buffer. CELL is the type
// of the binding's elements.
fn $1Quad(at: u32, left: u32) -> vec4f {
//#if VECTOR
  return $1[at / 4u];
//#else
  let s = at + min(vec4u(0u, 1u, 2u, 3u), vec4u(left - 1u));
  return select(vec4f(), vec4f($1[s.x], $1[s.y], $1[s.z], $1[s.w]), vec4u(0u, 1u, 2u, 3u) < vec4u(left));
//#end
}
