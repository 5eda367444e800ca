// The matrix tile that the SSD kernels are built on, on plain arithmetic (PLAIN = 1) or on subgroup matrices (MATRIX = 1).
//#repeat f 0 PLAIN
//#include ssd-tile-f32
//#end
//#repeat f 0 MATRIX
//#include ssd-tile-f16
//#end
