/**
 * The operations layers are written in: shape-checked, allocating, differentiable where the graph trains, over any backend.
 *
 * One graph is one run or one recorded plan. Build layers inside `scope` so that intermediates are given back; in training
 * what the reverse pass needs is kept until it has been used. Sequence tensors are [batch, length, channels].
 */
import type { Backend } from './backend.js';
import { EngineError } from './errors.js';
import type { Activation, Discretisation, Precision, UnaryFunction } from './kernels.js';
import { Tape } from './tape.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from './tensor.js';

export interface GraphOptions {
  /** Record operations for `backward`. */
  train?: boolean;
  /** Of matrix products and the SSD; everything else is f32. */
  precision?: Precision;
  /** Recompute what `graph.recompute` wraps instead of keeping it (training only). Default true. */
  recompute?: boolean;
}

/** Options all sequence operations share. */
interface SequenceOptions {
  /** State before the first token, overwritten with the state after the last. Not in training. */
  state?: Tensor;
  /** [batch] i32: real tokens of each sequence. */
  lengths?: Tensor;
}

function check(ok: boolean, where: string, message: string): void {
  if (!ok)
    throw new EngineError({
      code: 'SHAPE',
      where: { field: where },
      message,
      fix: 'give tensors of the documented shapes',
    });
}

export class Graph {
  readonly precision: Precision;
  private readonly tape: Tape;
  private readonly recomputes: boolean;

  constructor(
    readonly backend: Backend,
    readonly options: GraphOptions = {},
  ) {
    if (options.train && !backend.trains) {
      throw new EngineError({
        code: 'NO_TRAINING',
        where: { field: backend.name },
        message: 'this backend runs inference only',
        fix: 'train on webgpu or reference',
      });
    }
    this.tape = new Tape(backend, options.train ?? false);
    this.precision = options.precision ?? 'f32';
    this.recomputes = options.recompute ?? true;
  }

  private get kernels() {
    return this.backend.kernels;
  }

  // Memory and gradients

  alloc(shape: readonly number[], dtype?: Tensor['dtype']): Tensor {
    return this.tape.alloc(shape, dtype);
  }

  /** Give back a tensor this graph made. */
  release(t: Tensor): void {
    this.tape.drop(t);
  }

  /** Run `body`; intermediates made in it are given back, the returned tensors are not. */
  scope<T extends Tensor | readonly Tensor[] | undefined>(body: () => T): T {
    return this.tape.scope(body);
  }

  /** In training, keep only `inputs` and the result of `body` and compute its inside again on the reverse pass. */
  recompute(inputs: readonly Tensor[], body: () => Tensor): Tensor {
    return this.recomputes ? this.tape.recompute(inputs, body) : this.scope(body);
  }

  /** Gradients with respect to `t` are written to `gradient` (same shape) by `backward`. */
  trainable(t: Tensor, gradient: Tensor): void {
    check(sizeOf(t.shape) === sizeOf(gradient.shape), 'trainable', `gradient [${gradient.shape}] for [${t.shape}]`);
    this.tape.trainable(t, gradient);
  }

  /** Add `value` (same shape) to the gradient of `t`: the start of a reverse pass from anything but a loss. */
  seed(t: Tensor, value: Tensor): void {
    this.accumulate(t, value);
  }

  /** Reverse pass from the losses and seeds given so far. */
  backward(): void {
    this.tape.backward();
  }

  /** Adjacent ranges of the last dimension, as views; `widths` must add up to it. */
  split(t: Tensor, widths: readonly number[]): Tensor[] {
    const total = widths.reduce((s, w) => s + w, 0);
    check(total === columnsOf(t), 'split', `widths ${widths} of ${columnsOf(t)} columns`);
    return this.tape.split(t, widths);
  }

  /** The same elements under other leading dimensions, as a view. */
  reshape(t: Tensor, shape: readonly number[]): Tensor {
    check(shape.at(-1) === columnsOf(t) && sizeOf(shape) === sizeOf(t.shape), 'reshape', `[${t.shape}] as [${shape}]`);
    return this.tape.reshape(t, shape);
  }

  /** One row [C] read as every row of `shape` [..., C], without memory of its own. No gradient passes through it. */
  repeat(t: Tensor, shape: readonly number[]): Tensor {
    check(!this.tape.wants(t), 'repeat', 'no gradient passes through a repeated row');
    return this.tape.repeat(t, shape);
  }

  // Dense operations

  /** x [..., K] · weightᵀ + bias → [..., N]; weight [N, K]. `residual` [..., N] is added after the activation. */
  linear(
    x: Tensor,
    weight: Tensor,
    options: { bias?: Tensor; residual?: Tensor; activation?: Activation } = {},
  ): Tensor {
    const [n, k] = [rowsOf(weight), columnsOf(weight)];
    check(columnsOf(x) === k, 'linear', `x [${x.shape}] with weight [${weight.shape}]`);
    const { bias, residual, activation = 'none' } = options;
    const { precision } = this;
    if (this.tape.taping && activation !== 'none' && (this.tape.wants(x) || this.tape.wants(weight))) {
      // The gradient needs the value before the activation: do it as an operation of its own.
      const y = this.unary(this.linear(x, weight, { bias }), activation);
      return residual ? this.binary(y, residual, 'add') : y;
    }
    const out = this.alloc([...x.shape.slice(0, -1), n]);
    this.kernels.matmul({ out, a: x, b: weight, transposeB: true, bias, residual, activation, precision });
    this.tape.record([x, weight, bias, residual], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      if (this.tape.wants(x)) {
        const d = this.tape.destination(x);
        this.kernels.matmul({ out: d.tensor, a: dOut, b: weight, accumulate: d.occupied, precision });
        d.finish();
      }
      if (this.tape.wants(weight)) {
        const d = this.tape.destination(weight);
        this.kernels.matmul({ out: d.tensor, a: dOut, b: x, transposeA: true, accumulate: d.occupied, precision });
        d.finish();
      }
      if (bias && this.tape.wants(bias)) {
        const d = this.tape.destination(bias);
        this.kernels.columnSum(d.tensor, dOut, d.occupied);
        d.finish();
      }
      if (residual && this.tape.wants(residual)) this.tape.passOn(out, residual);
    });
    return out;
  }

  /** Rows of `table` [vocabulary, width] by `ids` [...] i32 → [..., width]. */
  embedding(ids: Tensor, table: Tensor): Tensor {
    const out = this.alloc([...ids.shape, columnsOf(table)]);
    this.kernels.embedding({ out, ids, table });
    this.tape.record([table], [out], [ids], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const d = this.tape.destination(table);
      this.kernels.embeddingBackward({ dTable: d.tensor, dOut, ids, accumulate: d.occupied });
      d.finish();
    });
    return out;
  }

  /** x / rms(x) · weight over the last dimension (Zhang & Sennrich 2019). */
  rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
    check(columnsOf(x) === sizeOf(weight.shape), 'rmsNorm', `x [${x.shape}] with weight [${weight.shape}]`);
    const out = this.alloc(x.shape);
    this.kernels.rmsNorm({ out, x, weight, eps });
    this.tape.record([x, weight], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.destination(x);
      const dWeight = this.tape.exclusive(weight);
      const args = { dX: dX.tensor, dWeight: dWeight.tensor, dOut, x, weight, eps };
      this.kernels.rmsNormBackward({ ...args, accumulate: dX.occupied });
      dX.finish();
      dWeight.finish();
    });
    return out;
  }

  /** RMS norm of x·silu(z) in groups of `groupSize` columns, times weight: the norm inside a Mamba-2 mixer. */
  gatedRmsNorm(x: Tensor, z: Tensor, weight: Tensor, eps: number, groupSize: number): Tensor {
    check(
      columnsOf(x) === columnsOf(z) && columnsOf(x) % groupSize === 0,
      'gatedRmsNorm',
      `x [${x.shape}], z [${z.shape}], groups of ${groupSize}`,
    );
    const out = this.alloc(x.shape);
    this.kernels.gatedRmsNorm({ out, x, z, weight, eps, groupSize });
    this.tape.record([x, z, weight], [out], [x, z], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      const dZ = this.tape.exclusive(z);
      const dWeight = this.tape.exclusive(weight);
      const targets = { dX: dX.tensor, dZ: dZ.tensor, dWeight: dWeight.tensor };
      this.kernels.gatedRmsNormBackward({ ...targets, dOut, x, z, weight, eps, groupSize });
      for (const d of [dX, dZ, dWeight]) d.finish();
    });
    return out;
  }

  /** silu(first half) · second half of the last dimension (Shazeer 2020). */
  swiglu(x: Tensor): Tensor {
    check(columnsOf(x) % 2 === 0, 'swiglu', `an odd number of columns in [${x.shape}]`);
    const out = this.alloc([...x.shape.slice(0, -1), columnsOf(x) / 2]);
    this.kernels.swiglu({ out, x });
    this.tape.record([x], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      this.kernels.swigluBackward({ dX: dX.tensor, dOut, x });
      dX.finish();
    });
    return out;
  }

  unary(x: Tensor, fn: UnaryFunction): Tensor {
    const out = this.alloc(x.shape);
    this.kernels.unary({ out, x, fn });
    this.tape.record([x], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      this.kernels.unaryBackward({ dX: dX.tensor, dOut, x, fn });
      dX.finish();
    });
    return out;
  }

  /** Element-wise a + b or a·b of equal shapes. */
  binary(a: Tensor, b: Tensor, fn: 'add' | 'mul'): Tensor {
    check(
      sizeOf(a.shape) === sizeOf(b.shape) && columnsOf(a) === columnsOf(b),
      'binary',
      `[${a.shape}] with [${b.shape}]`,
    );
    const out = this.alloc(a.shape);
    this.kernels.binary({ out, a, b, fn });
    this.tape.record([a, b], [out], fn === 'mul' ? [a, b] : [], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      if (fn === 'add') {
        if (this.tape.wants(a)) this.accumulate(a, dOut);
        if (this.tape.wants(b)) this.tape.passOn(out, b);
        return;
      }
      if (this.tape.wants(a)) this.product(a, dOut, b);
      if (this.tape.wants(b)) this.product(b, dOut, a);
    });
    return out;
  }

  private accumulate(t: Tensor, value: Tensor): void {
    const d = this.tape.exclusive(t);
    this.kernels.copy(d.tensor, value);
    d.finish();
  }

  private product(t: Tensor, dOut: Tensor, other: Tensor): void {
    const d = this.tape.exclusive(t);
    this.kernels.binary({ out: d.tensor, a: dOut, b: other, fn: 'mul' });
    d.finish();
  }

  // Sequence operations

  private noStateInTraining(where: string, state: Tensor | undefined): void {
    if (state && this.options.train) {
      throw new EngineError({
        code: 'STATE_IN_TRAINING',
        where: { field: where },
        message: 'a training graph starts every sequence from an empty state',
        fix: 'leave the state out, or make the graph without train',
      });
    }
  }

  /** Causal depthwise convolution of x [batch, length, C] by weight [C, K]; state [batch, K−1, C]. */
  conv(x: Tensor, weight: Tensor, options: SequenceOptions & { bias?: Tensor; activation?: Activation } = {}): Tensor {
    const { bias, activation = 'none', state, lengths } = options;
    const [batch, , channels] = x.shape;
    const past = columnsOf(weight) - 1;
    check(x.shape.length === 3 && rowsOf(weight) === channels, 'conv', `x [${x.shape}] with weight [${weight.shape}]`);
    check(
      !state || sizeOf(state.shape) === batch * past * channels,
      'conv',
      `state [${state?.shape}], need [${[batch, past, channels]}]`,
    );
    this.noStateInTraining('conv', state);
    const out = this.alloc(x.shape);
    this.kernels.conv({ out, x, weight, bias, activation, state, lengths });
    this.tape.record([x, weight, bias], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      const dWeight = this.tape.exclusive(weight);
      const dBias = bias && this.tape.exclusive(bias);
      const targets = { dX: dX.tensor, dWeight: dWeight.tensor, dBias: dBias?.tensor };
      this.kernels.convBackward({ ...targets, dOut, x, weight, bias, activation, lengths });
      for (const d of [dX, dWeight, dBias]) d?.finish();
    });
    return out;
  }

  /** Mamba-1's scan; shapes as `SelectiveScanArgs` in kernels.ts. */
  selectiveScan(
    args: SequenceOptions & {
      x: Tensor;
      dt: Tensor;
      aLog: Tensor;
      B: Tensor;
      C: Tensor;
      skip?: Tensor;
      dtBias?: Tensor;
      z?: Tensor;
      dtLimit?: readonly [number, number];
      discretisation?: Discretisation;
    },
  ): Tensor {
    const { x, dt, aLog, B, C, skip, dtBias, z, dtLimit, discretisation, state, lengths } = args;
    const [batch, length, dInner] = x.shape;
    const dState = columnsOf(B);
    check(x.shape.length === 3 && columnsOf(dt) === dInner, 'selectiveScan', `x [${x.shape}] with dt [${dt.shape}]`);
    check(
      sizeOf(aLog.shape) === dInner * dState && columnsOf(C) === dState,
      'selectiveScan',
      `aLog [${aLog.shape}], B [${B.shape}], C [${C.shape}]`,
    );
    check(!state || sizeOf(state.shape) === batch * dInner * dState, 'selectiveScan', `state [${state?.shape}]`);
    this.noStateInTraining('selectiveScan', state);
    const out = this.alloc(x.shape);
    const inputs = { x, dt, aLog, B, C, skip, dtBias, z, dtLimit, discretisation, lengths };
    const dims = { batch, length, dInner, dState, nHeads: dInner };
    const checkpoints = this.checkpoints('selectiveScan', dims, [x, dt, aLog, B, C]);
    this.kernels.selectiveScan({ ...inputs, out, state, checkpoints });
    this.tape.record([x, dt, aLog, B, C, skip, dtBias, z], [out], [x, dt, B, C, z, checkpoints], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const target = (t: Tensor | undefined) => t && this.tape.exclusive(t);
      const [dX, dDt, dALog] = [this.tape.exclusive(x), this.tape.exclusive(dt), this.tape.exclusive(aLog)];
      const [dB, dC] = [this.tape.exclusive(B), this.tape.exclusive(C)];
      const [dSkip, dDtBias, dZ] = [target(skip), target(dtBias), target(z)];
      this.kernels.selectiveScanBackward({
        ...inputs,
        checkpoints,
        dOut,
        dX: dX.tensor,
        dDt: dDt.tensor,
        dALog: dALog.tensor,
        dB: dB.tensor,
        dC: dC.tensor,
        dSkip: dSkip?.tensor,
        dDtBias: dDtBias?.tensor,
        dZ: dZ?.tensor,
      });
      for (const d of [dX, dDt, dALog, dB, dC, dSkip, dDtBias, dZ]) d?.finish();
    });
    return out;
  }

  /** Mamba-2's scan; shapes as `SsdArgs` in kernels.ts. */
  ssd(
    args: SequenceOptions & {
      x: Tensor;
      dt: Tensor;
      aLog: Tensor;
      B: Tensor;
      C: Tensor;
      skip?: Tensor;
      dtBias?: Tensor;
      nGroups: number;
      dtLimit?: readonly [number, number];
      discretisation?: Discretisation;
    },
  ): Tensor {
    const { x, dt, aLog, B, C, skip, dtBias, nGroups, dtLimit, discretisation, state, lengths } = args;
    const [batch, length, dInner] = x.shape;
    const nHeads = columnsOf(dt);
    const dState = columnsOf(B) / nGroups;
    check(x.shape.length === 3 && dInner % nHeads === 0, 'ssd', `x [${x.shape}] with ${nHeads} heads`);
    check(
      nHeads % nGroups === 0 && Number.isInteger(dState) && columnsOf(C) === columnsOf(B),
      'ssd',
      `${nHeads} heads, ${nGroups} groups, B [${B.shape}], C [${C.shape}]`,
    );
    check(sizeOf(aLog.shape) === nHeads, 'ssd', `aLog [${aLog.shape}] for ${nHeads} heads`);
    check(!state || sizeOf(state.shape) === batch * dInner * dState, 'ssd', `state [${state?.shape}]`);
    this.noStateInTraining('ssd', state);
    const out = this.alloc(x.shape);
    const { precision } = this;
    const inputs = { x, dt, aLog, B, C, skip, dtBias, nHeads, nGroups, dtLimit, discretisation, lengths, precision };
    const checkpoints = this.checkpoints('ssd', { batch, length, dInner, dState, nHeads }, [x, dt, aLog, B, C]);
    this.kernels.ssd({ ...inputs, out, state, checkpoints });
    this.tape.record([x, dt, aLog, B, C, skip, dtBias], [out], [x, dt, B, C, checkpoints], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const target = (t: Tensor | undefined) => t && this.tape.exclusive(t);
      const [dX, dDt, dALog] = [this.tape.exclusive(x), this.tape.exclusive(dt), this.tape.exclusive(aLog)];
      const [dB, dC] = [this.tape.exclusive(B), this.tape.exclusive(C)];
      const [dSkip, dDtBias] = [target(skip), target(dtBias)];
      this.kernels.ssdBackward({
        ...inputs,
        checkpoints,
        dOut,
        dX: dX.tensor,
        dDt: dDt.tensor,
        dALog: dALog.tensor,
        dB: dB.tensor,
        dC: dC.tensor,
        dSkip: dSkip?.tensor,
        dDtBias: dDtBias?.tensor,
      });
      for (const d of [dX, dDt, dALog, dB, dC, dSkip, dDtBias]) d?.finish();
    });
    return out;
  }

  /** Memory for the states entering each chunk, where a reverse pass will come and the backend keeps them. */
  private checkpoints(
    kind: 'selectiveScan' | 'ssd',
    dims: Parameters<Backend['kernels']['checkpointShape']>[1],
    inputs: Tensor[],
  ): Tensor | undefined {
    if (!this.tape.taping || !inputs.some((t) => this.tape.wants(t))) return undefined;
    const shape = this.kernels.checkpointShape(kind, dims);
    return shape && this.alloc(shape);
  }

  /** Attention over the last `window` tokens; shapes as `AttentionArgs` in kernels.ts. */
  attention(
    args: Omit<SequenceOptions, 'state'> & {
      q: Tensor;
      k: Tensor;
      v: Tensor;
      bias: Tensor;
      nHeads: number;
      kvHeads: number;
      window: number;
      cache?: { k: Tensor; v: Tensor; count: Tensor };
    },
  ): Tensor {
    const { q, k, v, bias, nHeads, kvHeads, window, cache, lengths } = args;
    const headDim = columnsOf(q) / nHeads;
    check(
      Number.isInteger(headDim) && nHeads % kvHeads === 0,
      'attention',
      `q [${q.shape}] with ${nHeads} heads, ${kvHeads} of keys`,
    );
    check(
      columnsOf(k) === kvHeads * headDim && columnsOf(v) === kvHeads * headDim,
      'attention',
      `k [${k.shape}], v [${v.shape}]`,
    );
    check(
      sizeOf(bias.shape) === nHeads * window,
      'attention',
      `bias [${bias.shape}] for ${nHeads} heads, window ${window}`,
    );
    this.noStateInTraining('attention', cache?.k);
    const out = this.alloc(q.shape);
    const inputs = { q, k, v, bias, nHeads, kvHeads, window, lengths };
    this.kernels.attention({ ...inputs, out, cacheK: cache?.k, cacheV: cache?.v, cacheCount: cache?.count });
    this.tape.record([q, k, v, bias], [out], [q, k, v], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const [dQ, dK, dV, dBias] = [q, k, v, bias].map((t) => this.tape.exclusive(t));
      const targets = { dQ: dQ.tensor, dK: dK.tensor, dV: dV.tensor, dBias: dBias.tensor };
      this.kernels.attentionBackward({ ...inputs, dOut, ...targets });
      for (const d of [dQ, dK, dV, dBias]) d.finish();
    });
    return out;
  }

  // Losses: each returns its value [1] and, in training, starts the reverse pass at its prediction.

  private loss(prediction: Tensor, compute: (loss: Tensor, gradient: Tensor | undefined) => void): Tensor {
    const loss = this.alloc([1]);
    if (!this.tape.taping || !this.tape.wants(prediction)) {
      compute(loss, undefined);
      return loss;
    }
    const d = this.tape.exclusive(prediction);
    compute(loss, d.tensor);
    d.finish();
    return loss;
  }

  /** Σ weights·cross-entropy; logits [..., vocabulary], targets i32 and weights one per row. */
  crossEntropy(logits: Tensor, targets: Tensor, weights: Tensor): Tensor {
    return this.loss(logits, (loss, dLogits) => this.kernels.crossEntropy({ loss, dLogits, logits, targets, weights }));
  }

  /** Σ weights·mean squared error of a row. */
  mse(prediction: Tensor, target: Tensor, weights: Tensor): Tensor {
    return this.loss(prediction, (loss, dPrediction) =>
      this.kernels.mse({ loss, dPrediction, prediction, target, weights }),
    );
  }

  /** Σ weights·pinball loss of a row against one target; levels [Q]. */
  pinball(prediction: Tensor, target: Tensor, weights: Tensor, levels: Tensor): Tensor {
    return this.loss(prediction, (loss, dPrediction) =>
      this.kernels.pinball({ loss, dPrediction, prediction, target, weights, levels }),
    );
  }

  /** The forecaster's head as a loss; shapes as `QuantileMixtureArgs` in kernels.ts. */
  quantileMixtureLoss(args: {
    raw: Tensor;
    candidates: Tensor;
    levels: Tensor;
    patch: number;
    nCandidates: number;
    target: Tensor;
    weights: Tensor;
  }): Tensor {
    return this.loss(args.raw, (loss, dRaw) => this.kernels.quantileMixture({ ...args, loss, dRaw }));
  }

  /** The forecaster's head as quantiles [..., patch·Q]. */
  quantileMixture(args: {
    raw: Tensor;
    candidates: Tensor;
    levels: Tensor;
    patch: number;
    nCandidates: number;
  }): Tensor {
    const quantiles = this.alloc([...args.raw.shape.slice(0, -1), args.patch * sizeOf(args.levels.shape)]);
    this.kernels.quantileMixture({ ...args, quantiles });
    return quantiles;
  }
}
