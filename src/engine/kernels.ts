/**
 * The kernels every backend implements. Outputs are given by the caller and fully written, unless said otherwise.
 *
 * Letters (those of the papers and of mamba-minimal):
 *   batch     sequences           length   tokens of each          T   batch × length rows
 *   dInner    inner channels      nHeads (H), headDim (P): dInner = H·P
 *   dState (N) state a channel    nGroups (G): heads of one group share B and C
 *   dt        step size, raw: softplus(dt + dtBias), clamped to dtLimit, is what the recurrence uses
 *
 * Sequence tensors are [batch, length, channels] with any row stride (see tensor.ts), inputs and outputs alike.
 * `lengths` ([batch] i32) marks how many leading tokens of each sequence are real: later ones yield zeros (and zero
 * gradients) and leave states untouched. No `lengths`: all are real. A length of 0 is allowed everywhere.
 * `state` tensors are contiguous, read as the state before the first token and overwritten with the state after the
 * last real one. No `state`: zeros before, nothing kept. States are constants to the gradient (truncated back-propagation).
 * A length of 1 with a state is the decode step; backends choose a kernel made for it.
 *
 * Backward kernels overwrite the gradients named d…, except where `accumulate` names them. A missing optional gradient
 * is not wanted. All sums over tokens run in a fixed order: the same input gives the same bits.
 */
import type { Tensor } from './tensor.js';

/** `f16`: matrix operands are rounded to f16 on their way into the matrix units, sums stay f32. A backend without such units computes in f32. */
export type Precision = 'f32' | 'f16';
export type Activation = 'none' | 'silu';
/** `euler`: h ← exp(dt·A)·h + dt·B·x, what published checkpoints use. `zoh`: the input term is (exp(dt·A) − 1)/A·B·x. */
export type Discretisation = 'euler' | 'zoh';

/** out[M,N] = act(op(a)·op(b) + bias) + residual (+ out, if accumulate). op(a) is [M,K]; with transposeA, a is stored [K,M]; likewise b [K,N] / [N,K]. */
export interface MatmulArgs {
  out: Tensor;
  a: Tensor;
  b: Tensor;
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: Tensor;
  activation?: Activation;
  residual?: Tensor;
  accumulate?: boolean;
  precision?: Precision;
}

/** out[T,d] = table[ids[T], d]; ids i32, an id outside the table gives a row of NaN. */
export interface EmbeddingArgs {
  out: Tensor;
  ids: Tensor;
  table: Tensor;
}
/** dTable[v] = Σ over tokens with that id of dOut; rows never used become 0 (unless accumulate). */
export interface EmbeddingBackwardArgs {
  dTable: Tensor;
  dOut: Tensor;
  ids: Tensor;
  accumulate?: boolean;
}

/** out = x / sqrt(mean(x²) + eps) · weight, over the last dimension. */
export interface RmsNormArgs {
  out: Tensor;
  x: Tensor;
  weight: Tensor;
  eps: number;
}
/** accumulate: dX += (residual streams). */
export interface RmsNormBackwardArgs {
  dX: Tensor;
  dWeight?: Tensor;
  dOut: Tensor;
  x: Tensor;
  weight: Tensor;
  eps: number;
  accumulate?: boolean;
}

/** g = x·silu(z); out = g / sqrt(mean over each group of `groupSize` columns of g² + eps) · weight. Mamba-2's norm (norm_before_gate = False). */
export interface GatedRmsNormArgs {
  out: Tensor;
  x: Tensor;
  z: Tensor;
  weight: Tensor;
  eps: number;
  groupSize: number;
}
export interface GatedRmsNormBackwardArgs {
  dX: Tensor;
  dZ: Tensor;
  dWeight?: Tensor;
  dOut: Tensor;
  x: Tensor;
  z: Tensor;
  weight: Tensor;
  eps: number;
  groupSize: number;
}

/** Causal depthwise convolution: out[t,c] = act(bias[c] + Σ_k weight[c,k]·x[t − (K−1) + k, c]). weight [C,K], state [batch, K−1, C] (oldest first). */
export interface ConvArgs {
  out: Tensor;
  x: Tensor;
  weight: Tensor;
  bias?: Tensor;
  activation: Activation;
  state?: Tensor;
  lengths?: Tensor;
}
/** For a forward call without state. */
export interface ConvBackwardArgs {
  dX: Tensor;
  dWeight: Tensor;
  dBias?: Tensor;
  dOut: Tensor;
  x: Tensor;
  weight: Tensor;
  bias?: Tensor;
  activation: Activation;
  lengths?: Tensor;
}

/**
 * Mamba-1 selective scan (Gu & Dao 2023, algorithm 2), per channel d and state n, with A = −exp(aLog):
 *   h ← exp(dt·A)·h + dt·B·x;   y = Σ_n C·h + skip·x;   out = y·silu(z) if z is given.
 * x, dt, z, out [batch, length, dInner]; aLog [dInner, N]; B, C [batch, length, N]; skip, dtBias [dInner]; state [batch, dInner, N].
 */
export interface SelectiveScanArgs {
  out: Tensor;
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
  state?: Tensor;
  lengths?: Tensor;
  /** Output of shape `checkpointShape('selectiveScan', …)`: the state entering each of the backend's chunks, for backward. */
  checkpoints?: Tensor;
}
export interface SelectiveScanBackwardArgs extends Omit<SelectiveScanArgs, 'out' | 'state'> {
  dOut: Tensor;
  dX: Tensor;
  dDt: Tensor;
  dALog: Tensor;
  dB: Tensor;
  dC: Tensor;
  dSkip?: Tensor;
  dDtBias?: Tensor;
  dZ?: Tensor;
  /** As written by the forward call; recomputed when absent. */
  checkpoints?: Tensor;
}

/**
 * Mamba-2 state space duality (Dao & Gu 2024), per head h (group g = h div (H/G)), with A = −exp(aLog[h]):
 *   S[p,n] ← exp(dt·A)·S[p,n] + dt·x[p]·B[n];   y[p] = Σ_n C[n]·S[p,n] + skip·x[p].
 * x, out [batch, length, H·P]; dt [batch, length, H]; aLog, dtBias [H]; B, C [batch, length, G·N]; skip [H]; state [batch, H, P, N].
 */
export interface SsdArgs {
  out: Tensor;
  x: Tensor;
  dt: Tensor;
  aLog: Tensor;
  B: Tensor;
  C: Tensor;
  skip?: Tensor;
  dtBias?: Tensor;
  nHeads: number;
  nGroups: number;
  dtLimit?: readonly [number, number];
  discretisation?: Discretisation;
  state?: Tensor;
  lengths?: Tensor;
  precision?: Precision;
  checkpoints?: Tensor;
}
export interface SsdBackwardArgs extends Omit<SsdArgs, 'out' | 'state'> {
  dOut: Tensor;
  dX: Tensor;
  dDt: Tensor;
  dALog: Tensor;
  dB: Tensor;
  dC: Tensor;
  dSkip?: Tensor;
  dDtBias?: Tensor;
}

/** x = [a | b] (last dimension halved); out = silu(a)·b. */
export interface SwigluArgs {
  out: Tensor;
  x: Tensor;
}
export interface SwigluBackwardArgs {
  dX: Tensor;
  dOut: Tensor;
  x: Tensor;
}

/**
 * Causal attention over the last `window` tokens (the token itself included), heads of size headDim, kvHeads shared by
 * nHeads/kvHeads query heads each. bias [nHeads, window]: added to the logit at distance 0 … window−1.
 * q, out [batch, length, nHeads·headDim]; k, v [batch, length, kvHeads·headDim].
 * state: cacheK, cacheV [batch, window−1, kvHeads·headDim] (newest last), cacheCount [batch] i32 = valid entries.
 */
export interface AttentionArgs {
  out: Tensor;
  q: Tensor;
  k: Tensor;
  v: Tensor;
  bias: Tensor;
  nHeads: number;
  kvHeads: number;
  window: number;
  cacheK?: Tensor;
  cacheV?: Tensor;
  cacheCount?: Tensor;
  lengths?: Tensor;
}
/** For a forward call without cache. */
export interface AttentionBackwardArgs extends Omit<AttentionArgs, 'out' | 'cacheK' | 'cacheV' | 'cacheCount'> {
  dOut: Tensor;
  dQ: Tensor;
  dK: Tensor;
  dV: Tensor;
  dBias: Tensor;
}

export type UnaryFunction = 'silu' | 'softplus' | 'exp' | 'asinh' | 'sigmoid';
export interface UnaryArgs {
  out: Tensor;
  x: Tensor;
  fn: UnaryFunction;
}
export interface UnaryBackwardArgs {
  dX: Tensor;
  dOut: Tensor;
  x: Tensor;
  fn: UnaryFunction;
}
/** out = a + b or a·b, same shape; `out` may be `a`. */
export interface BinaryArgs {
  out: Tensor;
  a: Tensor;
  b: Tensor;
  fn: 'add' | 'mul';
}

/** loss[1] = Σ_t weights[t]·(logsumexp(logits[t]) − logits[t, targets[t]]); dLogits, if given, is its gradient. targets i32; a weight of 0 skips the row. */
export interface CrossEntropyArgs {
  loss: Tensor;
  dLogits?: Tensor;
  logits: Tensor;
  targets: Tensor;
  weights: Tensor;
}
/** loss[1] = Σ_t weights[t]·Σ_c (prediction − target)²/columns. */
export interface MseArgs {
  loss: Tensor;
  dPrediction?: Tensor;
  prediction: Tensor;
  target: Tensor;
  weights: Tensor;
}
/** prediction [T, Q], target [T], levels [Q]: loss[1] = Σ_t weights[t]·(2/Q)·Σ_q max(q·e, (q−1)·e), e = target − prediction. */
export interface PinballArgs {
  loss: Tensor;
  dPrediction?: Tensor;
  prediction: Tensor;
  target: Tensor;
  weights: Tensor;
  levels: Tensor;
}
/**
 * The forecaster's head and its loss in one pass. For token t and step p of its target patch:
 *   y[q] = Σ_c softmax(mix)[c]·candidates[t,p,c] + exp(clamp(scale, −4, 4))·offset[q],
 * raw [T, P·Q + P·C + 1] = offsets (p-major) | mix logits (p-major) | scale; candidates [T, P·C] in units of the token's scale.
 * quantiles [T, P·Q], if given, receives y. With target and weights ([T, P], in the same units), loss[1] =
 * Σ weights·(2/Q)·Σ_q pinball_q(asinh(target) − asinh(y[q])) and dRaw, if given, its gradient.
 */
export interface QuantileMixtureArgs {
  raw: Tensor;
  candidates: Tensor;
  levels: Tensor;
  patch: number;
  nCandidates: number;
  quantiles?: Tensor;
  target?: Tensor;
  weights?: Tensor;
  loss?: Tensor;
  dRaw?: Tensor;
}

/**
 * AdamW over one flat arena of parameters (Loshchilov & Hutter 2019). Elements before `decayEnd` are decayed.
 * hyper [8] f32 = learning rate, β1, β2, ε, weight decay, 1 − β1^t, 1 − β2^t, clip norm (0: none).
 * Gradients are divided by gradScale[1] first (loss scaling), then clipped with `sumSquares` of the raw gradients.
 * If sumSquares is not finite nothing changes, m and v included: the step is skipped.
 * average, if given, moves by averageRate: average += averageRate[1]·(parameters − average).
 */
export interface AdamWArgs {
  parameters: Tensor;
  gradients: Tensor;
  m: Tensor;
  v: Tensor;
  decayEnd: number;
  hyper: Tensor;
  gradScale: Tensor;
  sumSquares: Tensor;
  average?: Tensor;
  averageRate?: Tensor;
}

export interface Kernels {
  matmul(args: MatmulArgs): void;
  embedding(args: EmbeddingArgs): void;
  rmsNorm(args: RmsNormArgs): void;
  gatedRmsNorm(args: GatedRmsNormArgs): void;
  conv(args: ConvArgs): void;
  selectiveScan(args: SelectiveScanArgs): void;
  ssd(args: SsdArgs): void;
  swiglu(args: SwigluArgs): void;
  attention(args: AttentionArgs): void;
  unary(args: UnaryArgs): void;
  binary(args: BinaryArgs): void;
  /** out = value everywhere. */
  fill(out: Tensor, value: number): void;
  /** out = x, converting between f32 and f16; shapes alike, strides may differ, x may have stride 0. */
  copy(out: Tensor, x: Tensor): void;
  /** loss, if any, and quantiles of the forecaster's head. Inference uses `quantiles` alone. */
  quantileMixture(args: QuantileMixtureArgs): void;

  embeddingBackward(args: EmbeddingBackwardArgs): void;
  rmsNormBackward(args: RmsNormBackwardArgs): void;
  gatedRmsNormBackward(args: GatedRmsNormBackwardArgs): void;
  convBackward(args: ConvBackwardArgs): void;
  selectiveScanBackward(args: SelectiveScanBackwardArgs): void;
  ssdBackward(args: SsdBackwardArgs): void;
  swigluBackward(args: SwigluBackwardArgs): void;
  attentionBackward(args: AttentionBackwardArgs): void;
  unaryBackward(args: UnaryBackwardArgs): void;
  /** out[N] = Σ over rows of x[T,N] (+ out, if accumulate). */
  columnSum(out: Tensor, x: Tensor, accumulate?: boolean): void;

  crossEntropy(args: CrossEntropyArgs): void;
  mse(args: MseArgs): void;
  pinball(args: PinballArgs): void;
  /** out[1] = Σ x². */
  sumSquares(out: Tensor, x: Tensor): void;
  adamW(args: AdamWArgs): void;

  /** Shape of the `checkpoints` tensor of a scan, or undefined where the backend keeps none. */
  checkpointShape(
    kind: 'selectiveScan' | 'ssd',
    dims: { batch: number; length: number; dInner: number; dState: number; nHeads: number },
  ): readonly number[] | undefined;
}
