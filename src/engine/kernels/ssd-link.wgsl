// SSD gradient: of the decay over a whole chunk, links[batch, nChunks, nHeads] = exp(Σ dt·A)·⟨S, dS⟩ with S the state that
// enters the chunk and dS the gradient of the one that leaves it. A workgroup per (sequence, chunk, head).
//#include flat
//#include ssd-span

struct Params {
  total: u32, headStates: u32, statesOffset: u32,
}

@group(0) @binding(0) var<storage, read> decay: array<vec4f>;
@group(0) @binding(1) var<storage, read> states: array<f32>;
@group(0) @binding(2) var<storage, read> dStates: array<f32>;
@group(0) @binding(3) var<storage, read_write> links: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

var<workgroup> sums: array<f32, 128>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups);
  if (id >= p.total) {
    return;
  }
  var sum = 0.0f;
  for (var e = tid; e < p.headStates; e += 128u) {
    sum += states[p.statesOffset + id * p.headStates + e] * dStates[id * p.headStates + e];
  }
  sums[tid] = sum;
  for (var reach = 64u; reach > 0u; reach /= 2u) {
    workgroupBarrier();
    if (tid < reach) {
      sums[tid] += sums[tid + reach];
    }
  }
  if (tid == 0u) {
    links[id] = fadeOf(decay[id * CHUNK + CHUNK - 1u]) * sums[0];
  }
}
