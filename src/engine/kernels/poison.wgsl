// Fills a buffer of `words` 32-bit words with a pattern that is NaN read as f32 and NaN read as two f16.
struct Params {
  words: u32,
}
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < params.words; i += groups.x * 256u) {
    data[i] = 0x7fc07fc0u;
  }
}
