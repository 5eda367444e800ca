// Scalar functions of the scans. All are exact to a few ulp where the library functions cancel.

const LOG2E: f32 = 1.4426950408889634f;
const LN2: f32 = 0.6931471805599453f;

// log(1 + e) for e in [0, 1], as 2·artanh(e / (2 + e)): no cancellation for small e, which is where step sizes live.
fn log1pUnit(e: f32) -> f32 {
  let s = e / (2.0f + e);
  let q = s * s;
  var r = 1.0f / 15.0f;
  r = fma(r, q, 1.0f / 13.0f);
  r = fma(r, q, 1.0f / 11.0f);
  r = fma(r, q, 1.0f / 9.0f);
  r = fma(r, q, 1.0f / 7.0f);
  r = fma(r, q, 0.2f);
  r = fma(r, q, 1.0f / 3.0f);
  return 2.0f * fma(s * q, r, s);
}

fn softplus(x: f32) -> f32 {
  return max(x, 0.0f) + log1pUnit(exp(-abs(x)));
}

// The argument is bounded so that exp stays finite: shaders may assume that infinities do not happen.
fn sigmoid(x: f32) -> f32 {
  return 1.0f / (1.0f + exp(min(-x, 88.0f)));
}

// (exp(v) − 1) / v: the zero-order hold's input weight is dt·phi(dt·A).
fn phi(v: f32) -> f32 {
  var r = 1.0f / 40320.0f;
  r = fma(r, v, 1.0f / 5040.0f);
  r = fma(r, v, 1.0f / 720.0f);
  r = fma(r, v, 1.0f / 120.0f);
  r = fma(r, v, 1.0f / 24.0f);
  r = fma(r, v, 1.0f / 6.0f);
  r = fma(r, v, 0.5f);
  r = fma(r, v, 1.0f);
  let far = v < -0.5f;
  return select(r, (exp(v) - 1.0f) / select(-1.0f, v, far), far);
}

// (v·exp(v) − (exp(v) − 1)) / v² = Σ_j v^j (j+1)/(j+2)!: its derivative with respect to A is dt²·psi(dt·A).
fn psi(v: f32) -> f32 {
  var r = 9.0f / 3628800.0f;
  r = fma(r, v, 8.0f / 362880.0f);
  r = fma(r, v, 7.0f / 40320.0f);
  r = fma(r, v, 6.0f / 5040.0f);
  r = fma(r, v, 5.0f / 720.0f);
  r = fma(r, v, 4.0f / 120.0f);
  r = fma(r, v, 3.0f / 24.0f);
  r = fma(r, v, 2.0f / 6.0f);
  r = fma(r, v, 0.5f);
  let far = v < -1.0f;
  let w = select(-1.0f, v, far);
  return select(r, (w * exp(w) - exp(w) + 1.0f) / (w * w), far);
}

fn phi4(v: vec4f) -> vec4f {
  return vec4f(phi(v.x), phi(v.y), phi(v.z), phi(v.w));
}
fn psi4(v: vec4f) -> vec4f {
  return vec4f(psi(v.x), psi(v.y), psi(v.z), psi(v.w));
}
