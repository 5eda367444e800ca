// How the SSD kernels stage the slabs of a matrix product, four neighbouring m (or n) at a time. Invocations with
// neighbouring e take
//   alongM: neighbouring quads of m, for operands whose m is contiguous in memory
//   alongK: neighbouring k, for operands whose k is contiguous; the quads they store meet different banks
// Both give (k, m), m a multiple of 4.

fn alongM(e: u32, extent: u32) -> vec2u {
  return vec2u(e / (extent / 4u), e % (extent / 4u) * 4u);
}
fn alongK(e: u32) -> vec2u {
  return vec2u(e % TK, e / TK * 4u);
}

// Offsets of four neighbours from `first`, of which at least one is below `limit`: those beyond fold onto the last one, so
// that all loads can be made without branches and none leaves its buffer.
fn quadTo(first: u32, limit: u32) -> vec4u {
  return min(vec4u(0u, 1u, 2u, 3u), vec4u(limit - 1u - first));
}
fn withinTo(first: u32, limit: u32) -> vec4<bool> {
  return vec4u(0u, 1u, 2u, 3u) < vec4u(limit - first);
}

// The same where `first` is a multiple of 4 and `limit` a constant, which decides at compile time when it is one as well.
fn quad(first: u32, limit: u32) -> vec4u {
  if (limit % 4u == 0u) {
    return vec4u(0u, 1u, 2u, 3u);
  }
  return quadTo(first, limit);
}
fn within(first: u32, limit: u32) -> vec4<bool> {
  if (limit % 4u == 0u) {
    return vec4<bool>(true);
  }
  return withinTo(first, limit);
}
