/**
 * Deterministic random numbers with independent streams: xoshiro128++ (Blackman & Vigna 2019) seeded by hashing a list
 * of keys, so that any piece of work, named by (seed, step, part, shard), has its own stream whoever does it and when.
 */

const LAYERS = 128;
/** Right edge of the base layer and area of every layer of the normal ziggurat (Marsaglia & Tsang 2000). */
const EDGE = 3.442619855899;
const AREA = 9.91256303526217e-3;

const ziggurat = buildZiggurat();

function buildZiggurat(): { threshold: Uint32Array; width: Float64Array; height: Float64Array } {
  const threshold = new Uint32Array(LAYERS);
  const width = new Float64Array(LAYERS);
  const height = new Float64Array(LAYERS);
  const scale = 2 ** 31;
  let d = EDGE;
  let previous = EDGE;
  const q = AREA / Math.exp(-0.5 * d * d);
  threshold[0] = (d / q) * scale;
  threshold[1] = 0;
  width[0] = q / scale;
  width[LAYERS - 1] = d / scale;
  height[0] = 1;
  height[LAYERS - 1] = Math.exp(-0.5 * d * d);
  for (let i = LAYERS - 2; i >= 1; i--) {
    d = Math.sqrt(-2 * Math.log(AREA / d + Math.exp(-0.5 * d * d)));
    threshold[i + 1] = (d / previous) * scale;
    previous = d;
    height[i] = Math.exp(-0.5 * d * d);
    width[i] = d / scale;
  }
  return { threshold, width, height };
}

/** 32 bits well mixed (the finaliser of MurmurHash3). */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

export class Random {
  private readonly s = new Uint32Array(4);

  /** The stream named by the keys (whole numbers; their low 32 bits count). */
  constructor(...keys: number[]) {
    this.reseed(...keys);
  }

  reseed(...keys: number[]): void {
    let h = 0x9e3779b9;
    for (const key of keys) h = mix((Math.imul(h, 31) + mix((key + 0x9e3779b9) | 0)) | 0);
    for (let i = 0; i < 4; i++) {
      h = (h + 0x9e3779b9) | 0;
      this.s[i] = mix(h);
    }
    // All zeros is the one state the generator never leaves.
    if (this.s.every((v) => v === 0)) this.s[0] = 1;
  }

  /** 32 random bits as an unsigned number. */
  bits(): number {
    const s = this.s;
    const s0 = s[0]!;
    const s1 = s[1]!;
    const s3 = s[3]!;
    const sum = (s0 + s3) | 0;
    const result = (((sum << 7) | (sum >>> 25)) + s0) >>> 0;
    const t = s1 << 9;
    const s2 = s[2]! ^ s0;
    const t3 = s3 ^ s1;
    s[1] = s1 ^ s2;
    s[0] = s0 ^ t3;
    s[2] = s2 ^ t;
    s[3] = (t3 << 11) | (t3 >>> 21);
    return result;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() * 2 ** -32;
  }

  /** Uniform among 0 … n − 1. */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** Uniform in the logarithm, from `low` to `high`. */
  logUniform(low: number, high: number): number {
    return low * Math.exp(this.uniform() * Math.log(high / low));
  }

  /** Standard normal, by the ziggurat. */
  normal(): number {
    const { threshold, width, height } = ziggurat;
    for (;;) {
      const u = this.bits() | 0;
      const i = u & (LAYERS - 1);
      const size = u < 0 ? -u : u;
      const x = u * width[i]!;
      if (size < threshold[i]!) return x;
      if (i === 0) {
        // The tail beyond the edge.
        let tail: number;
        let y: number;
        do {
          tail = -Math.log(1 - this.uniform()) / EDGE;
          y = -Math.log(1 - this.uniform());
        } while (y + y < tail * tail);
        return u < 0 ? -EDGE - tail : EDGE + tail;
      }
      if (height[i]! + this.uniform() * (height[i - 1]! - height[i]!) < Math.exp(-0.5 * x * x)) return x;
    }
  }

  /** Laplace with scale 1 (variance 2). */
  laplace(): number {
    const u = this.uniform() - 0.5;
    const size = -Math.log(1 - 2 * Math.abs(u));
    return u < 0 ? -size : size;
  }

  /** Poisson by inversion below a mean of 30, by the rounded normal above, where the two differ by little. */
  poisson(mean: number): number {
    if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * this.normal()));
    let n = 0;
    let p = Math.exp(-mean);
    let u = this.uniform();
    while (u > p && n < 200) {
      u -= p;
      p *= mean / ++n;
    }
    return n;
  }
}
