// Moves the last window − 1 real tokens into the caches (newest last, zeros where there are fewer) and counts them.
// A workgroup per sequence; a thread moves whole columns, ascending, because entries come from later entries.
struct Params {
  length: u32,
  width: u32,
  past: u32,
  hasLengths: u32,
  kOffset: u32,
  kStride: u32,
  vOffset: u32,
  vStride: u32,
  cacheKOffset: u32,
  cacheVOffset: u32,
  cacheCountOffset: u32,
  lengthsOffset: u32,
}
@group(0) @binding(0) var<storage, read_write> cacheK: array<f32>;
@group(0) @binding(1) var<storage, read_write> cacheV: array<f32>;
@group(0) @binding(2) var<storage, read_write> cacheCount: array<i32>;
@group(0) @binding(3) var<storage, read> k: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<i32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let b = workgroup.x;
  var real = params.length;
  if (params.hasLengths != 0u) {
    real = u32(clamp(lengths[params.lengthsOffset + b], 0, i32(params.length)));
  }
  let count = min(params.past, u32(cacheCount[params.cacheCountOffset + b]) + real);
  storageBarrier();
  workgroupBarrier();
  if (lane == 0u) {
    cacheCount[params.cacheCountOffset + b] = i32(count);
  }
  for (var j = lane; j < params.width; j += 64u) {
    for (var s = 0u; s < params.past; s++) {
      // Counted from the oldest entry of the old cache.
      let origin = real + s;
      let place = (b * params.past + s) * params.width + j;
      var key = 0.0;
      var value = 0.0;
      if (s >= params.past - count) {
        if (origin >= params.past) {
          let row = b * params.length + origin - params.past;
          key = k[params.kOffset + row * params.kStride + j];
          value = v[params.vOffset + row * params.vStride + j];
        } else {
          let old = (b * params.past + origin) * params.width + j;
          key = cacheK[params.cacheKOffset + old];
          value = cacheV[params.cacheVOffset + old];
        }
      }
      cacheK[params.cacheKOffset + place] = key;
      cacheV[params.cacheVOffset + place] = value;
    }
  }
}
