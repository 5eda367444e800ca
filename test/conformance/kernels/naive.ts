/**
 * The forward kernels a second time, written from their formulas in another form than the oracle's: whole matrices instead
 * of loops over strides, sums over all earlier tokens instead of recurrences, concatenated history instead of states.
 */
import type { Call, Result } from './call.js';

type Matrix = number[][];

/** A call's arguments as nested arrays; [batch, length, C] as one matrix a sequence. */
class Reader {
  readonly options: Record<string, never>;

  constructor(private readonly call: Call) {
    this.options = (call.options ?? {}) as Record<string, never>;
  }

  has(name: string): boolean {
    return name in this.call.args;
  }

  shape(name: string): readonly number[] {
    return this.call.args[name].shape;
  }

  vector(name: string): number[] {
    return Array.from(this.call.args[name].data as Float64Array);
  }

  matrix(name: string): Matrix {
    return toMatrix(this.vector(name), this.shape(name).at(-1) as number);
  }

  /** Rows of sequence b; those from its real length on are cut off. */
  sequence(name: string, b: number): Matrix {
    const [, length] = this.shape(name);
    const real = this.has('lengths') ? this.vector('lengths')[b] : length;
    return this.matrix(name).slice(b * length, b * length + real);
  }
}

function toMatrix(values: number[], columns: number): Matrix {
  const rows: Matrix = [];
  for (let i = 0; i < values.length; i += columns) rows.push(values.slice(i, i + columns));
  return rows;
}

const transpose = (m: Matrix, columns: number): Matrix =>
  Array.from({ length: columns }, (_, j) => m.map((row) => row[j]));
const dot = (a: number[], b: number[]) => a.reduce((s, v, i) => s + v * b[i], 0);
const silu = (x: number) => x / (1 + Math.exp(-x));
/** Flattened sequences, each padded with zero rows to `length`. */
const padded = (sequences: Matrix[], length: number, width: number) =>
  sequences.flatMap((rows) => Array.from({ length }, (_, t) => rows[t] ?? new Array<number>(width).fill(0)).flat());

function matmul(r: Reader): Result {
  const [m, n] = r.shape('out');
  const columns = (name: string) => r.shape(name)[1];
  const a = r.options.transposeA ? transpose(r.matrix('a'), columns('a')) : r.matrix('a');
  const b = r.options.transposeB ? r.matrix('b') : transpose(r.matrix('b'), columns('b'));
  const out: number[] = [];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const y = dot(a[i] ?? [], b[j] ?? []) + (r.has('bias') ? r.vector('bias')[j] : 0);
      const residual = r.has('residual') ? r.matrix('residual')[i][j] : 0;
      const before = r.options.accumulate ? r.matrix('out')[i][j] : 0;
      out.push((r.options.activation === 'silu' ? silu(y) : y) + residual + before);
    }
  }
  return { out };
}

function normalise(values: number[], weight: number[], eps: number): number[] {
  const rms = Math.sqrt(dot(values, values) / values.length + eps);
  return values.map((v, i) => (v / rms) * weight[i]);
}

function rmsNorm(r: Reader): Result {
  return { out: r.matrix('x').flatMap((row) => normalise(row, r.vector('weight'), r.options.eps)) };
}

function gatedRmsNorm(r: Reader): Result {
  const size = r.options.groupSize as number;
  const [z, weight] = [r.matrix('z'), r.vector('weight')];
  const gated = r.matrix('x').map((row, t) => row.map((v, j) => v * silu(z[t][j])));
  const groups = (row: number[]) => toMatrix(row, size);
  return {
    out: gated.flatMap((row) => groups(row).flatMap((g, i) => normalise(g, groups(weight)[i], r.options.eps))),
  };
}

function conv(r: Reader): Result {
  const [batch, length, channels] = r.shape('x');
  const weight = r.matrix('weight');
  const past = weight[0].length - 1;
  const states: number[] = [];
  const outs: Matrix[] = [];
  for (let b = 0; b < batch; b++) {
    const before = r.has('state')
      ? toMatrix(r.vector('state'), channels).slice(b * past, (b + 1) * past)
      : Array.from({ length: past }, () => new Array<number>(channels).fill(0));
    const history = [...before, ...r.sequence('x', b)];
    outs.push(
      history.slice(past).map((_, t) =>
        weight.map((taps, c) => {
          const seen = history.slice(t, t + past + 1).map((row) => row[c]);
          const y = dot(taps, seen) + (r.has('bias') ? r.vector('bias')[c] : 0);
          return r.options.activation === 'silu' ? silu(y) : y;
        }),
      ),
    );
    if (past > 0) states.push(...history.slice(-past).flat());
  }
  return { out: padded(outs, length, channels), ...(r.has('state') ? { state: states } : {}) };
}

/** One channel of a scan: its inputs over time and its own row of A. */
interface Channel {
  x: number[];
  dt: number[];
  A: number[];
  B: Matrix;
  C: Matrix;
  h0: number[];
  zoh: boolean;
}

/** y[t] = Σ_n C[t,n]·(Σ_{s≤t} exp(A_n·Σ_{s<r≤t} dt_r)·w(dt_s)·B[s,n]·x[s] + exp(A_n·Σ_{r≤t} dt_r)·h0[n]) and the last h. */
function unrolled({ x, dt, A, B, C, h0, zoh }: Channel): { y: number[]; h: number[] } {
  const state = (t: number, n: number) => {
    const elapsed = (from: number) => dt.slice(from, t + 1).reduce((s, d) => s + d, 0);
    let h = Math.exp(A[n] * elapsed(0)) * h0[n];
    for (let s = 0; s <= t; s++) {
      const input = zoh ? (Math.exp(dt[s] * A[n]) - 1) / A[n] : dt[s];
      h += Math.exp(A[n] * elapsed(s + 1)) * input * B[s][n] * x[s];
    }
    return h;
  };
  const y = x.map((_, t) =>
    dot(
      C[t],
      A.map((_, n) => state(t, n)),
    ),
  );
  return { y, h: A.map((_, n) => state(x.length - 1, n)) };
}

function stepSizes(r: Reader, b: number, index: number): number[] {
  const [low, high] = (r.options.dtLimit as readonly number[] | undefined) ?? [0, Number.POSITIVE_INFINITY];
  const bias = r.has('dtBias') ? r.vector('dtBias')[index] : 0;
  return r.sequence('dt', b).map((row) => Math.min(Math.max(Math.log(1 + Math.exp(row[index] + bias)), low), high));
}

function scan(r: Reader, kind: 'selectiveScan' | 'ssd'): Result {
  const [batch, length, dInner] = r.shape('x');
  const nHeads = kind === 'ssd' ? (r.options.nHeads as number) : dInner;
  const nGroups = kind === 'ssd' ? (r.options.nGroups as number) : 1;
  const dState = r.shape('B')[2] / nGroups;
  const states: number[] = [];
  const outs: Matrix[] = [];
  for (let b = 0; b < batch; b++) {
    const x = r.sequence('x', b);
    const channels = Array.from({ length: dInner }, (_, c) => {
      const head = Math.floor((c * nHeads) / dInner);
      const from = Math.floor((head * nGroups) / nHeads) * dState;
      const aLog = kind === 'ssd' ? new Array<number>(dState).fill(r.vector('aLog')[head]) : r.matrix('aLog')[c];
      const at = (b * dInner + c) * dState;
      const own = (row: number[]) => row.slice(from, from + dState);
      const { y, h } = unrolled({
        x: x.map((row) => row[c]),
        dt: stepSizes(r, b, head),
        A: aLog.map((a) => -Math.exp(a)),
        B: r.sequence('B', b).map(own),
        C: r.sequence('C', b).map(own),
        h0: r.has('state') ? r.vector('state').slice(at, at + dState) : new Array<number>(dState).fill(0),
        zoh: r.options.discretisation === 'zoh',
      });
      states.push(...h);
      const skip = r.has('skip') ? r.vector('skip')[kind === 'ssd' ? head : c] : 0;
      return y.map((v, t) => (v + skip * x[t][c]) * (r.has('z') ? silu(r.sequence('z', b)[t][c]) : 1));
    });
    outs.push(transpose(channels, x.length));
  }
  return { out: padded(outs, length, dInner), ...(r.has('state') ? { state: states } : {}) };
}

function attention(r: Reader): Result {
  const [batch, length, width] = r.shape('q');
  const { nHeads, kvHeads, window } = r.options as unknown as Record<string, number>;
  const headDim = width / nHeads;
  const caches: Record<string, number[]> = { cacheK: [], cacheV: [], cacheCount: [] };
  const outs: Matrix[] = [];
  for (let b = 0; b < batch; b++) {
    const count = r.has('cacheCount') ? r.vector('cacheCount')[b] : 0;
    const history = (name: string, cache: string): Matrix => {
      const rows = window - 1;
      const all = r.has(cache) && rows > 0 ? r.matrix(cache).slice(b * rows, (b + 1) * rows) : [];
      return [...all.slice(all.length - count), ...r.sequence(name, b)];
    };
    const [keys, values, queries] = [history('k', 'cacheK'), history('v', 'cacheV'), r.sequence('q', b)];
    outs.push(
      queries.map((query, t) => {
        const now = count + t;
        return Array.from({ length: nHeads }, (_, head) => {
          const kv = Math.floor((head * kvHeads) / nHeads) * headDim;
          const cut = (row: number[], from: number) => row.slice(from, from + headDim);
          const scores = keys.map((key, s) =>
            s > now || s <= now - window
              ? 0
              : Math.exp(
                  dot(cut(query, head * headDim), cut(key, kv)) / Math.sqrt(headDim) + r.matrix('bias')[head][now - s],
                ),
          );
          const total = scores.reduce((s, v) => s + v, 0);
          return Array.from(
            { length: headDim },
            (_, j) =>
              dot(
                scores,
                values.map((v) => v[kv + j]),
              ) / total,
          );
        }).flat();
      }),
    );
    const kept = Math.min(window - 1, keys.length);
    const blank = new Array<number>((window - 1 - kept) * kvHeads * headDim).fill(0);
    caches.cacheK.push(...blank, ...keys.slice(keys.length - kept).flat());
    caches.cacheV.push(...blank, ...values.slice(values.length - kept).flat());
    caches.cacheCount.push(kept);
  }
  return { out: padded(outs, length, width), ...(r.has('cacheCount') ? caches : {}) };
}

const unaries: Record<string, (x: number) => number> = {
  silu,
  softplus: (x) => (x > 30 ? x : Math.log(1 + Math.exp(x))),
  exp: (x) => Math.E ** x,
  asinh: (x) => Math.sign(x) * Math.log(Math.abs(x) + Math.sqrt(x * x + 1)),
  sigmoid: (x) => (1 + Math.tanh(x / 2)) / 2,
};

const pinball = (error: number, level: number) => (error > 0 ? level * error : (level - 1) * error);

function quantileMixture(r: Reader): Result {
  const levels = r.vector('levels');
  const { patch, nCandidates } = r.options as unknown as Record<string, number>;
  const candidates = r.matrix('candidates');
  let loss = 0;
  const quantiles = r.matrix('raw').flatMap((raw, t) => {
    const scale = Math.exp(Math.max(-4, Math.min(4, raw.at(-1) as number)));
    return Array.from({ length: patch }, (_, p) => {
      const mix = raw
        .slice(patch * levels.length)
        .slice(p * nCandidates, (p + 1) * nCandidates)
        .map(Math.exp);
      const total = mix.reduce((s, v) => s + v, 0);
      const base = dot(mix, candidates[t].slice(p * nCandidates)) / total;
      return levels.map((level, q) => {
        const y = base + scale * raw[p * levels.length + q];
        if (r.has('target')) {
          const error = unaries.asinh(r.matrix('target')[t][p]) - unaries.asinh(y);
          loss += ((r.matrix('weights')[t][p] * 2) / levels.length) * pinball(error, level);
        }
        return y;
      });
    }).flat();
  });
  return { ...(r.has('quantiles') ? { quantiles } : {}), ...(r.has('loss') ? { loss: [loss] } : {}) };
}

function adamW(r: Reader): Result {
  const [rate, beta1, beta2, eps, decay, correction1, correction2, clip] = r.vector('hyper');
  const before = { parameters: r.vector('parameters'), m: r.vector('m'), v: r.vector('v') };
  const average: Result = r.has('average') ? { average: r.vector('average') } : {};
  const [squares] = r.vector('sumSquares');
  if (!Number.isFinite(squares)) return { ...before, ...average };
  const unscaled = r.vector('gradients').map((g) => g / r.vector('gradScale')[0]);
  const norm = Math.sqrt(squares) / r.vector('gradScale')[0];
  const gradients = clip > 0 && norm > clip ? unscaled.map((g) => (g * clip) / norm) : unscaled;
  const m = before.m.map((v, i) => v * beta1 + gradients[i] * (1 - beta1));
  const v = before.v.map((w, i) => w * beta2 + gradients[i] ** 2 * (1 - beta2));
  const parameters = before.parameters.map((p, i) => {
    const decayed = i < (r.options.decayEnd as number) ? rate * decay * p : 0;
    return p - decayed - (rate * m[i]) / correction1 / (Math.sqrt(v[i] / correction2) + eps);
  });
  const moved: Result = r.has('average')
    ? { average: r.vector('average').map((a, i) => a + r.vector('averageRate')[0] * (parameters[i] - a)) }
    : {};
  return { parameters, m, v, ...moved };
}

const kernels: Record<string, (r: Reader) => Result> = {
  matmul,
  rmsNorm,
  gatedRmsNorm,
  conv,
  selectiveScan: (r) => scan(r, 'selectiveScan'),
  ssd: (r) => scan(r, 'ssd'),
  attention,
  quantileMixture,
  adamW,
  embedding: (r) => ({ out: r.vector('ids').flatMap((id) => r.matrix('table')[id]) }),
  swiglu: (r) => ({
    out: r.matrix('x').flatMap((row) => {
      const half = row.length / 2;
      return row.slice(0, half).map((a, j) => silu(a) * row[half + j]);
    }),
  }),
  unary: (r) => ({ out: r.vector('x').map(unaries[r.options.fn]) }),
  binary: (r) => {
    const b = r.vector('b');
    return { out: r.vector('a').map((a, i) => (r.options.fn === 'add' ? a + b[i] : a * b[i])) };
  },
  fill: (r) => ({ out: new Array<number>(r.shape('out').reduce((p, e) => p * e, 1)).fill(r.options.value) }),
  copy: (r) => ({ out: r.vector('x') }),
  columnSum: (r) => ({
    out: transpose(r.matrix('x'), r.shape('x')[1]).map(
      (column, j) => column.reduce((s, v) => s + v, 0) + (r.options.accumulate ? r.vector('out')[j] : 0),
    ),
  }),
  sumSquares: (r) => ({ out: [dot(r.vector('x'), r.vector('x'))] }),
  crossEntropy: (r) => {
    const targets = r.vector('targets');
    const likelihood = r.matrix('logits').map((row, t) => {
      const shifted = row.map((l) => Math.exp(l - row[targets[t]]));
      return Math.log(shifted.reduce((s, v) => s + v, 0));
    });
    return { loss: [dot(r.vector('weights'), likelihood)] };
  },
  mse: (r) => {
    const target = r.matrix('target');
    const rows = r.matrix('prediction').map((row, t) => row.map((v, j) => (v - target[t][j]) ** 2));
    return {
      loss: [
        dot(
          r.vector('weights'),
          rows.map((row) =>
            dot(
              row,
              row.map(() => 1 / row.length),
            ),
          ),
        ),
      ],
    };
  },
  pinball: (r) => {
    const [levels, target] = [r.vector('levels'), r.vector('target')];
    const rows = r.matrix('prediction').map((row, t) => row.map((v, q) => pinball(target[t] - v, levels[q])));
    return {
      loss: [
        dot(
          r.vector('weights'),
          rows.map(
            (row) =>
              (2 / row.length) *
              dot(
                row,
                row.map(() => 1),
              ),
          ),
        ),
      ],
    };
  },
};

/** Expected outputs of a forward call (gradients aside); undefined for backward kernels. */
export function naive(call: Call): Result | undefined {
  return kernels[call.kernel]?.(new Reader(call));
}
