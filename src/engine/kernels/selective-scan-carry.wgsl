// Carries states across segments: what each segment leaves from zero becomes the state that enters it, in place.
//
//   segments [batch, nSegments, dInner, LANES·VECS] vec4 of states · sums [batch, nSegments, dInner] = Σ dt
//   entering[s+1] = exp(A·sums[s])·entering[s] + left[s]
//
// One invocation per channel and vec4 of states. REVERSE carries the gradient from the last segment to the first: the
// decay over a segment is the same product. USE_STATE: starts from `state` and leaves the last state there.
//#include flat
//#include scan-math

struct Params {
  total: u32, nSegments: u32, dInner: u32, aLogOffset: u32, stateOffset: u32,
}

@group(0) @binding(0) var<storage, read> aLog: array<f32>;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> segments: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

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
  let vec = id % STATE_VECS;
  let d = (id / STATE_VECS) % p.dInner;
  let b = id / (STATE_VECS * p.dInner);
  var A2 = vec4f(0.0f);
  var h = vec4f(0.0f);
  for (var k = 0u; k < 4u; k++) {
    let n = vec * 4u + k;
    if (n < STATES) {
      A2[k] = -exp(aLog[p.aLogOffset + d * STATES + n]) * LOG2E;
      if (USE_STATE) {
        h[k] = state[p.stateOffset + (b * p.dInner + d) * STATES + n];
      }
    }
  }
  for (var i = 0u; i < p.nSegments; i++) {
    let s = b * p.nSegments + select(i, p.nSegments - 1u - i, REVERSE);
    let at = (s * p.dInner + d) * STATE_VECS + vec;
    let left = segments[at];
    segments[at] = h;
    h = fma(exp2(A2 * sums[s * p.dInner + d]), h, left);
  }
  if (USE_STATE) {
    for (var k = 0u; k < 4u; k++) {
      let n = vec * 4u + k;
      if (n < STATES) {
        state[p.stateOffset + (b * p.dInner + d) * STATES + n] = h[k];
      }
    }
  }
}
