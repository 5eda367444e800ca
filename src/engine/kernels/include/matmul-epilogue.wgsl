// Writes four neighbours of a matrix product: out = act(sum + bias) + residual (+ out), by the bits of params.flags
// (1 bias, 2 silu, 4 residual, 8 accumulate); or the bare sum as partial z [M, N] where SPLIT is set.
// Uses params, out, bias and residual of the including kernel.
fn store(row: u32, column: u32, sum: vec4<f32>, z: u32) {
  if (row >= params.M || column >= params.N) {
    return;
  }
  var value = sum;
//#if SPLIT
  let at = (z * params.M + row) * params.N + column;
//#else
  let at = params.outOffset + row * params.outStride + column;
  let last = min(4u, params.N - column);
  if ((params.flags & 1u) != 0u) {
    for (var c = 0u; c < last; c++) {
      value[c] += bias[params.biasOffset + column + c];
    }
  }
  if ((params.flags & 2u) != 0u) {
    value = value / (1.0 + exp(-value));
  }
//#end
//#if VEC_OUT
//#if SPLIT
//#else
  if ((params.flags & 4u) != 0u) {
    value += vec4<f32>(residual[(params.residualOffset + row * params.residualStride + column) / 4u]);
  }
  if ((params.flags & 8u) != 0u) {
    value += vec4<f32>(out[at / 4u]);
  }
//#end
  out[at / 4u] = OUT(value);
//#else
  for (var c = 0u; c < min(4u, params.N - column); c++) {
    var element = value[c];
//#if SPLIT
//#else
    if ((params.flags & 4u) != 0u) {
      element += f32(residual[params.residualOffset + row * params.residualStride + column + c]);
    }
    if ((params.flags & 8u) != 0u) {
      element += f32(out[at + c]);
    }
//#end
    out[at + c] = OUT(element);
  }
//#end
}
