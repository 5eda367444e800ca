// SSD, after a LOCAL ssd-states: what every chunk adds becomes the state that enters it, in place.
//
//   states [batch, nChunks, nHeads, headDim, dState];  entering[c+1] = exp(Σ dt·A of c)·entering[c] + added[c]
//
// One invocation per state. REVERSE: from the last chunk to the first, for gradients.
//#include flat
//#include ssd-span

struct Params {
  total: u32, headStates: u32, nChunks: u32, nHeads: u32, statesOffset: u32, stateOffset: u32,
}

@group(0) @binding(0) var<storage, read> decay: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> states: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) tid: u32,
) {
  let id = flatWorkgroup(group, groups) * 128u + tid;
  if (id >= p.total) {
    return;
  }
  let inHead = id % p.headStates;
  let h = (id / p.headStates) % p.nHeads;
  let b = id / p.headStates / p.nHeads;
  var value = 0.0f;
  if (HAS_STATE) {
    value = state[p.stateOffset + id];
  }
  // AHEAD chunks are loaded before any of them is needed: one at a time would wait for memory nChunks times.
  for (var i = 0u; i < p.nChunks; i += AHEAD) {
    //#repeat j 0 AHEAD
    let chunk$j = min(i + $j, p.nChunks - 1u);
    let line$j = (b * p.nChunks + select(chunk$j, p.nChunks - 1u - chunk$j, REVERSE)) * p.nHeads + h;
    let at$j = p.statesOffset + line$j * p.headStates + inHead;
    let added$j = states[at$j];
    let fade$j = fadeOf(decay[line$j * CHUNK + CHUNK - 1u]);
    //#end
    //#repeat j 0 AHEAD
    if (i + $j < p.nChunks) {
      states[at$j] = value;
      value = fade$j * value + added$j;
    }
    //#end
  }
  if (HAS_STATE) {
    state[p.stateOffset + id] = value;
  }
}
