// The matrix units: f16 16 × 16 operands, f32 sums. Loads and stores count in elements of the array they are given:
// vec4<u32> for the tiles, OUT for the result. Uses tiles, out, PITCH_A, PITCH_B and STRIP_WIDTH of the including kernel.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
// All branches around matrix operations are uniform, but through values Tint cannot see to be so.
diagnostic(off, chromium.subgroup_matrix_uniformity);
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

// The emulation has to know which thread it is.
fn enterSubgroup(number: u32) {
}

fn loadLeft(chunk: u32) -> Left {
//#if HALVES
  let at = chunk * 8u;
  let pitch = PITCH_A * 8u;
//#else
  let at = chunk;
  let pitch = PITCH_A;
//#end
//#if TRANS_A
  return subgroupMatrixLoad<Left, col_major>(&tiles, at, pitch);
//#else
  return subgroupMatrixLoad<Left, row_major>(&tiles, at, pitch);
//#end
}

fn loadRight(chunk: u32) -> Right {
//#if HALVES
  let at = chunk * 8u;
  let pitch = PITCH_B * 8u;
//#else
  let at = chunk;
  let pitch = PITCH_B;
//#end
//#if TRANS_B
  return subgroupMatrixLoad<Right, col_major>(&tiles, at, pitch);
//#else
  return subgroupMatrixLoad<Right, row_major>(&tiles, at, pitch);
//#end
}

fn multiplyAdd(left: Left, right: Right, sum: Sum) -> Sum {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

fn storeStrip(at: u32, sum: Sum) {
//#if HALVES
  subgroupMatrixStore<row_major>(&strips, at, sum, STRIP_WIDTH);
//#else
  subgroupMatrixStore<row_major>(&tiles, at, sum, STRIP_WIDTH);
//#end
}

//#if DIRECT
fn storeOut(at: u32, sum: Sum, pitch: u32) {
//#if VEC_OUT
  subgroupMatrixStore<row_major>(&out, at / 4u, sum, pitch / 4u);
//#else
  subgroupMatrixStore<row_major>(&out, at, sum, pitch);
//#end
}
//#end
