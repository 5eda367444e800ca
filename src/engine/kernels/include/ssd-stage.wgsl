// Quads: four neighbouring numbers of a tensor at a time, whole where VECTOR says that all offsets, strides and extents are
// multiples of four, one by one where not. CELL is the type of the elements then.

// Which of a quad's numbers exist, `left` (at least one) being what is left of the row.
fn present(left: u32) -> vec4<bool> {
  return vec4u(0u, 1u, 2u, 3u) < vec4u(left);
}
// Offsets of a quad's numbers: those that do not exist fold onto the last one, so that no load leaves its buffer.
fn folded(left: u32) -> vec4u {
  return min(vec4u(0u, 1u, 2u, 3u), vec4u(left - 1u));
}

// The position (row, first column) of quad e of a strip, `width` quads to a row.
fn quadAt(e: u32, width: u32) -> vec2u {
  return vec2u(e / width, e % width * 4u);
}
