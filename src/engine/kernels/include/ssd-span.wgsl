// The running decay of a chunk. decay[…] is (weight, high, low, 0): Σ dt·A up to and with a token as an unevaluated sum of two
// floats, because only its differences matter, and they may be small where the sums are large.

// Σ dt·A behind `earlier` up to and with `later`: never positive, and kept so against rounding.
fn span(later: vec4f, earlier: vec4f) -> f32 {
  return min((later.y - earlier.y) + (later.z - earlier.z), 0.0f);
}

// exp of the whole sum.
fn fadeOf(d: vec4f) -> f32 {
  return exp(d.y + d.z);
}
