/**
 * The state space recurrence in float64, one step after another, for Mamba-1 and Mamba-2 alike.
 *
 * Both are h[c,n] ← exp(dt·A)·h[c,n] + w(dt)·B[n]·x[c];  y[c] = Σ_n C[n]·h[c,n] + skip·x[c]  over channels c; they
 * differ in what channels share. Mamba-1: dt a channel, A a channel and state, one B and C. Mamba-2: dt and A a head,
 * B and C a group of heads. `Layout` says which.
 */
import type { SelectiveScanArgs, SelectiveScanBackwardArgs, SsdArgs, SsdBackwardArgs } from '../../kernels.js';
import { columnsOf, type Tensor } from '../../tensor.js';
import { at, fill, floats, lengthOf, sigmoid, silu, siluDerivative, softplus } from './access.js';

interface Layout {
  dState: number;
  /** Column of dt, and index into dtBias, of channel c. */
  dtIndex(c: number): number;
  aIndex(c: number, n: number): number;
  /** Column of B and C for the first state of channel c. */
  bStart(c: number): number;
  skipIndex(c: number): number;
}

function mamba1Layout(args: { B: Tensor }): Layout {
  const dState = columnsOf(args.B);
  return { dState, dtIndex: (c) => c, aIndex: (c, n) => c * dState + n, bStart: () => 0, skipIndex: (c) => c };
}

function mamba2Layout(args: { x: Tensor; B: Tensor; nHeads: number; nGroups: number }): Layout {
  const dState = columnsOf(args.B) / args.nGroups;
  const headDim = columnsOf(args.x) / args.nHeads;
  const head = (c: number) => Math.floor(c / headDim);
  const group = (c: number) => Math.floor(head(c) / (args.nHeads / args.nGroups));
  return { dState, dtIndex: head, aIndex: head, bStart: (c) => group(c) * dState, skipIndex: head };
}

type Forward = Omit<SelectiveScanArgs, 'checkpoints'>;
type Backward = Omit<SelectiveScanBackwardArgs, 'checkpoints'>;
type Inputs = Pick<Forward, 'x' | 'dt' | 'aLog' | 'dtBias' | 'dtLimit' | 'discretisation'>;

/** Step size after bias, softplus and clamp, and its derivative with respect to the raw value. */
function stepSize({ dt, dtBias, dtLimit }: Inputs, row: number, index: number): { dt: number; derivative: number } {
  const raw = floats(dt)[at(dt, row) + index] + (dtBias ? floats(dtBias)[dtBias.offset + index] : 0);
  const value = softplus(raw);
  const [low, high] = dtLimit ?? [0, Number.POSITIVE_INFINITY];
  if (value < low) return { dt: low, derivative: 0 };
  if (value > high) return { dt: high, derivative: 0 };
  return { dt: value, derivative: sigmoid(raw) };
}

/** A = −exp(aLog) of every state of channel c: the same at every step. */
function decays(aLog: Tensor, layout: Layout, c: number): Float64Array {
  return Float64Array.from(
    { length: layout.dState },
    (_, n) => -Math.exp(floats(aLog)[aLog.offset + layout.aIndex(c, n)]),
  );
}

function forward(args: Forward, layout: Layout): void {
  const { out, x, B, C, aLog, skip, z, state, lengths } = args;
  const [batch, length, dInner] = x.shape;
  const { dState } = layout;
  for (let b = 0; b < batch; b++) {
    const real = lengthOf(lengths, b, length);
    for (let c = 0; c < dInner; c++) {
      const rates = decays(aLog, layout, c);
      const from = layout.bStart(c);
      const dtAt = layout.dtIndex(c);
      const stateAt = (b * dInner + c) * dState + (state?.offset ?? 0);
      const h = state ? floats(state).slice(stateAt, stateAt + dState) : new Float64Array(dState);
      for (let t = 0; t < length; t++) {
        const row = b * length + t;
        if (t >= real) {
          floats(out)[at(out, row) + c] = 0;
          continue;
        }
        const u = floats(x)[at(x, row) + c];
        const { dt } = stepSize(args, row, dtAt);
        let y = skip ? floats(skip)[skip.offset + layout.skipIndex(c)] * u : 0;
        for (let n = 0; n < dState; n++) {
          const A = rates[n];
          const input = args.discretisation === 'zoh' ? Math.expm1(dt * A) / A : dt;
          h[n] = Math.exp(dt * A) * h[n] + input * floats(B)[at(B, row) + from + n] * u;
          y += floats(C)[at(C, row) + from + n] * h[n];
        }
        floats(out)[at(out, row) + c] = z ? y * silu(floats(z)[at(z, row) + c]) : y;
      }
      if (state) floats(state).set(h, stateAt);
    }
  }
}

function backward(args: Backward, layout: Layout): void {
  const { dOut, dX, dDt, dALog, dB, dC, dSkip, dDtBias, dZ, x, B, C, aLog, skip, z, lengths } = args;
  const [batch, length, dInner] = x.shape;
  const { dState } = layout;
  for (const gradient of [dX, dDt, dALog, dB, dC, dSkip, dDtBias, dZ]) if (gradient) fill(gradient, 0);
  for (let b = 0; b < batch; b++) {
    const real = lengthOf(lengths, b, length);
    for (let c = 0; c < dInner; c++) {
      const rates = decays(aLog, layout, c);
      const from = layout.bStart(c);
      const dtAt = layout.dtIndex(c);
      // States before every step, kept because this is the oracle; real backends recompute them.
      const h = new Float64Array((real + 1) * dState);
      for (let t = 0; t < real; t++) {
        const row = b * length + t;
        const { dt } = stepSize(args, row, dtAt);
        for (let n = 0; n < dState; n++) {
          const A = rates[n];
          const input = args.discretisation === 'zoh' ? Math.expm1(dt * A) / A : dt;
          h[(t + 1) * dState + n] =
            Math.exp(dt * A) * h[t * dState + n] + input * floats(B)[at(B, row) + from + n] * floats(x)[at(x, row) + c];
        }
      }
      const carry = new Float64Array(dState);
      const skipAt = skip ? skip.offset + layout.skipIndex(c) : 0;
      for (let t = real - 1; t >= 0; t--) {
        const row = b * length + t;
        const u = floats(x)[at(x, row) + c];
        const { dt, derivative } = stepSize(args, row, dtAt);
        let dY = floats(dOut)[at(dOut, row) + c];
        if (z) {
          let y = skip ? floats(skip)[skipAt] * u : 0;
          for (let n = 0; n < dState; n++) {
            y += floats(C)[at(C, row) + from + n] * h[(t + 1) * dState + n];
          }
          const gate = floats(z)[at(z, row) + c];
          if (dZ) floats(dZ)[at(dZ, row) + c] = dY * y * siluDerivative(gate);
          dY *= silu(gate);
        }
        let dU = skip ? dY * floats(skip)[skipAt] : 0;
        if (dSkip) floats(dSkip)[dSkip.offset + layout.skipIndex(c)] += dY * u;
        let dStep = 0;
        for (let n = 0; n < dState; n++) {
          const A = rates[n];
          const a = Math.exp(dt * A);
          const zoh = args.discretisation === 'zoh';
          const input = zoh ? Math.expm1(dt * A) / A : dt;
          const bValue = floats(B)[at(B, row) + from + n];
          const dH = dY * floats(C)[at(C, row) + from + n] + carry[n];
          const dInput = dH * bValue * u;
          const dA =
            dH * h[t * dState + n] * dt * a + (zoh ? (dInput * (dt * a * A - Math.expm1(dt * A))) / (A * A) : 0);
          floats(dC)[at(dC, row) + from + n] += dY * h[(t + 1) * dState + n];
          floats(dB)[at(dB, row) + from + n] += dH * input * u;
          floats(dALog)[dALog.offset + layout.aIndex(c, n)] += dA * A;
          dU += dH * input * bValue;
          dStep += dH * h[t * dState + n] * a * A + dInput * (zoh ? a : 1);
          carry[n] = a * dH;
        }
        floats(dX)[at(dX, row) + c] = dU;
        floats(dDt)[at(dDt, row) + dtAt] += dStep * derivative;
        if (dDtBias) floats(dDtBias)[dDtBias.offset + dtAt] += dStep * derivative;
      }
    }
  }
}

export function selectiveScan(args: SelectiveScanArgs): void {
  forward(args, mamba1Layout(args));
}
export function selectiveScanBackward(args: SelectiveScanBackwardArgs): void {
  backward(args, mamba1Layout(args));
}
export function ssd(args: SsdArgs): void {
  forward(args, mamba2Layout(args));
}
export function ssdBackward(args: SsdBackwardArgs): void {
  backward(args, mamba2Layout(args));
}
