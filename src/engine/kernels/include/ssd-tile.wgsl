// The matrix tile that the SSD kernels are built on: plain f32 arithmetic, or (MATRIX) f16 on subgroup matrices.
//#if MATRIX
//#include ssd-tile-f16
//#else
//#include ssd-tile-f32
//#end
