// Writes one element of a matrix product: out = act(sum + bias) + residual (+ out), by the bits of params.flags
// (1 bias, 2 silu, 4 residual, 8 accumulate). Uses params, out, bias and residual of the including kernel.
fn finish(row: u32, column: u32, sum: f32) {
  if (row >= params.M || column >= params.N) {
    return;
  }
  let at = params.outOffset + row * params.outStride + column;
  var value = sum;
  if ((params.flags & 1u) != 0u) {
    value += bias[params.biasOffset + column];
  }
  if ((params.flags & 2u) != 0u) {
    value = value / (1.0 + exp(-value));
  }
  if ((params.flags & 4u) != 0u) {
    value += f32(residual[params.residualOffset + row * params.residualStride + column]);
  }
  if ((params.flags & 8u) != 0u) {
    value += f32(out[at]);
  }
  out[at] = OUT(value);
}
