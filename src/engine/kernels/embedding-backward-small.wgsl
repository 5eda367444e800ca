// Gradient of a small table, first pass: partial[chunk, v, j] = Σ of dOut[t, j] over the chunk's tokens t with ids[t] = v.
// A thread owns column j of its chunk's table and walks the chunk's tokens in order. columnSum adds the chunks.
struct Params {
  tokens: u32,
  columns: u32,
  vocabulary: u32,
  chunk: u32,
  dOutOffset: u32,
  dOutStride: u32,
  idsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> partial: array<f32>;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = workgroup.x * 64u + lane;
  if (column >= params.columns) {
    return;
  }
  let base = workgroup.y * params.vocabulary * params.columns + column;
  for (var v = 0u; v < params.vocabulary; v++) {
    partial[base + v * params.columns] = 0.0;
  }
  let start = workgroup.y * params.chunk;
  let end = min(params.tokens, start + params.chunk);
  for (var t = start; t < end; t++) {
    let id = u32(ids[params.idsOffset + t]);
    if (id < params.vocabulary) {
      partial[base + id * params.columns] += dOut[params.dOutOffset + t * params.dOutStride + column];
    }
  }
}
