// Element by element over rows × columns, any row strides: out = f(a, b).
// OP chooses f; `b` is a dummy where f takes one operand. A, B, OUT are the element types (f32, f16 or i32).
//#include flat
//#include activation
const OP_COPY = 0u;
const OP_FILL = 1u;
const OP_ADD = 2u;
const OP_MUL = 3u;
const OP_SILU = 10u;
const OP_SOFTPLUS = 11u;
const OP_EXP = 12u;
const OP_ASINH = 13u;
const OP_SIGMOID = 14u;
// Slopes: a is dOut, b is x, out = dOut·f'(x).
const OP_SILU_SLOPE = 20u;
const OP_SOFTPLUS_SLOPE = 21u;
const OP_EXP_SLOPE = 22u;
const OP_ASINH_SLOPE = 23u;
const OP_SIGMOID_SLOPE = 24u;

struct Params {
  size: u32,
  columns: u32,
  value: f32,
  outOffset: u32,
  outStride: u32,
  aOffset: u32,
  aStride: u32,
  bOffset: u32,
  bStride: u32,
}
@group(0) @binding(0) var<storage, read_write> out: array<OUT>;
@group(0) @binding(1) var<storage, read> a: array<A>;
@group(0) @binding(2) var<storage, read> b: array<B>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flatWorkgroup(workgroup, groups) * 256u + lane;
  if (i >= params.size) {
    return;
  }
  let row = i / params.columns;
  let column = i - row * params.columns;
  let place = params.outOffset + row * params.outStride + column;
  if (OP == OP_FILL) {
    out[place] = OUT(params.value);
    return;
  }
  let x = a[params.aOffset + row * params.aStride + column];
  if (OP == OP_COPY) {
    out[place] = OUT(x);
    return;
  }
  let u = f32(x);
  var v = 0.0;
  if (OP == OP_ADD || OP == OP_MUL || OP >= OP_SILU_SLOPE) {
    v = f32(b[params.bOffset + row * params.bStride + column]);
  }
  var y = 0.0;
  switch OP {
    case OP_ADD: { y = u + v; }
    case OP_MUL: { y = u * v; }
    case OP_SILU: { y = silu(u); }
    case OP_SOFTPLUS: { y = softplus(u); }
    case OP_EXP: { y = exp(u); }
    case OP_ASINH: { y = asinhStable(u); }
    case OP_SIGMOID: { y = sigmoid(u); }
    case OP_SILU_SLOPE: { y = u * siluSlope(v); }
    case OP_SOFTPLUS_SLOPE: { y = u * sigmoid(v); }
    case OP_EXP_SLOPE: { y = u * exp(v); }
    case OP_ASINH_SLOPE: { y = u * asinhSlope(v); }
    default: { y = u * sigmoid(v) * sigmoid(-v); }
  }
  out[place] = OUT(y);
}
