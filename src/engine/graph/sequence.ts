/** Operations along sequences [batch, length, channels]: convolution, both scans and windowed attention. */
import type { Backend } from '../backend.js';
import { EngineError } from '../errors.js';
import type { Activation, SelectiveScanArgs, SsdArgs } from '../kernels.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../tensor.js';
import { check } from './core.js';
import { DenseOperations } from './dense.js';

/** Options all sequence operations share. */
interface SequenceOptions {
  /** State before the first token, overwritten with the state after the last. Not in training. */
  state?: Tensor;
  /** [batch] i32: real tokens of each sequence. */
  lengths?: Tensor;
}

export abstract class SequenceOperations extends DenseOperations {
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
    this.reverse(out, [x], { dX: x, dWeight: weight, dBias: bias }, (dOut, into) =>
      this.kernels.convBackward({ ...into, dOut, x, weight, bias, activation, lengths }),
    );
    return out;
  }

  /** Mamba-1's scan; shapes as `SelectiveScanArgs` in kernels.ts. */
  selectiveScan(args: Omit<SelectiveScanArgs, 'out' | 'checkpoints'>): Tensor {
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
    const wanted = { dX: x, dDt: dt, dALog: aLog, dB: B, dC: C, dSkip: skip, dDtBias: dtBias, dZ: z };
    this.reverse(out, [x, dt, aLog, B, C, z, checkpoints], wanted, (dOut, into) =>
      this.kernels.selectiveScanBackward({ ...inputs, ...into, checkpoints, dOut }),
    );
    return out;
  }

  /** Mamba-2's scan; shapes as `SsdArgs` in kernels.ts. */
  ssd(args: Omit<SsdArgs, 'out' | 'checkpoints' | 'nHeads' | 'precision'>): Tensor {
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
    const wanted = { dX: x, dDt: dt, dALog: aLog, dB: B, dC: C, dSkip: skip, dDtBias: dtBias };
    this.reverse(out, [x, dt, B, C, checkpoints], wanted, (dOut, into) =>
      this.kernels.ssdBackward({ ...inputs, ...into, checkpoints, dOut }),
    );
    return out;
  }

  /**
   * Records a reverse pass: `wanted` names the gradients that `run` writes and what they are of; `kept` is read again.
   * Nothing runs where no gradient of `out` arrives.
   */
  private reverse<Wanted extends Record<string, Tensor | undefined>>(
    out: Tensor,
    kept: (Tensor | undefined)[],
    wanted: Wanted,
    run: (dOut: Tensor, into: Wanted) => void,
  ): void {
    this.tape.record(Object.values(wanted), [out], kept, () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const targets = Object.entries(wanted).map(([name, of]) => [name, of && this.tape.exclusive(of)] as const);
      run(dOut, Object.fromEntries(targets.map(([name, target]) => [name, target?.tensor])) as Wanted);
      for (const [, target] of targets) target?.finish();
    });
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
}
