// Activations and their derivatives, written so that no intermediate overflows to NaN.
fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-x));
}

fn silu(x: f32) -> f32 {
  return x / (1.0 + exp(-x));
}

// d silu / dx
fn siluSlope(x: f32) -> f32 {
  let s = sigmoid(x);
  return s * (1.0 + x * (1.0 - s));
}

// log(1 + x) for x >= 0 without losing small x: 2·atanh(x / (2 + x)) as a series while that converges fast.
fn logOnePlus(x: f32) -> f32 {
  if (x > 0.5) {
    return log(1.0 + x);
  }
  let s = x / (2.0 + x);
  let q = s * s;
  return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0)))));
}

// log(1 + exp(x)); for large x the 1 vanishes.
fn softplus(x: f32) -> f32 {
  return max(x, 0.0) + logOnePlus(exp(-abs(x)));
}

// sign(x)·log(|x| + sqrt(x² + 1)), with the small-|x| form log1p(|x| + x²/(1 + sqrt(x² + 1))) and no overflow of x².
fn asinhStable(x: f32) -> f32 {
  let m = abs(x);
  if (m > 1e4) {
    return sign(x) * (log(m) + 0.6931471805599453);
  }
  let s = m * m;
  return sign(x) * logOnePlus(m + s / (1.0 + sqrt(s + 1.0)));
}

// 1 / sqrt(x² + 1), whose x² would overflow for large x
fn asinhSlope(x: f32) -> f32 {
  let m = abs(x);
  return select(inverseSqrt(m * m + 1.0), 1.0 / m, m > 1e4);
}
