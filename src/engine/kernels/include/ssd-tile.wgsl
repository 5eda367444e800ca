// The matrix tile that the SSD kernels are built on: plain f32 arithmetic, or (MATRIX) f16 on subgroup matrices.
//#if MATRIX
//#include ssd-tile-f16
//#else
//#include ssd-tile-f32
//#end

// The position (row, first column) of quad e of a strip, `width` quads to a row.
fn quadAt(e: u32, width: u32) -> vec2u {
  return vec2u(e / width, e % width * 4u);
}
