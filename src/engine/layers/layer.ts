/**
 * What every layer is: parameters, a state of fixed size, and two equal faces. `scan` takes a whole sequence, `step` one
 * token of each; any split of a sequence between the two gives the same outputs and the same final state.
 */
import type { Backend, NumericArray } from '../backend.js';
import type { Graph } from '../graph.js';
import type { DType, Tensor } from '../tensor.js';

export interface StateSpec {
  shape: readonly number[];
  dtype?: DType;
}
/** Tensors by name, updated in place by scan and step. A layer without memory has an empty state. */
export type State = Record<string, Tensor>;
/** A state as numbers: what is stored, sent and compared. */
export type StateValue = Record<string, NumericArray>;

export interface ScanOptions {
  /** Read as the state before the first token, overwritten with the state after the last. */
  state?: State;
  /** [batch] i32: real tokens of each sequence. */
  lengths?: Tensor;
  /** Added to the output: the residual stream. */
  residual?: Tensor;
}

export interface SequenceLayer {
  /** Names and shapes of the state of `batch` sequences. */
  stateSpecs(batch: number): Record<string, StateSpec>;
  /** x [batch, length, dModel] → the same shape. */
  scan(g: Graph, x: Tensor, options?: ScanOptions): Tensor;
}

/** One token of each sequence: x [batch, dModel] → [batch, dModel]; the state moves on by one. */
export function step(layer: SequenceLayer, g: Graph, x: Tensor, state: State): Tensor {
  const [batch, width] = x.shape;
  const y = layer.scan(g, g.reshape(x, [batch, 1, width]), { state });
  return g.reshape(y, [batch, y.shape[2]]);
}

/** Zero state of `batch` sequences; the caller frees it with `freeState`. */
export function newState(backend: Backend, layer: Pick<SequenceLayer, 'stateSpecs'>, batch: number): State {
  const state: State = {};
  for (const [name, { shape, dtype }] of Object.entries(layer.stateSpecs(batch))) {
    state[name] = backend.alloc(shape, dtype);
    backend.kernels.fill(state[name], 0);
  }
  return state;
}

export function freeState(backend: Backend, state: State): void {
  for (const t of Object.values(state)) backend.free(t);
}

export async function readState(backend: Backend, state: State): Promise<StateValue> {
  const value: StateValue = {};
  for (const [name, t] of Object.entries(state)) value[name] = await backend.read(t);
  return value;
}

/** Overwrite a state of the same layer and batch. */
export function writeState(backend: Backend, state: State, value: StateValue): void {
  for (const [name, t] of Object.entries(state)) {
    if (!value[name]) throw new RangeError(`state without ${name}`);
    backend.write(t, value[name]);
  }
}

/** The part of a state that belongs to one sub-layer. */
export function stateWithin(state: State | undefined, prefix: string): State | undefined {
  if (!state) return undefined;
  const head = `${prefix}.`;
  const entries = Object.entries(state).filter(([name]) => name.startsWith(head));
  return Object.fromEntries(entries.map(([name, t]) => [name.slice(head.length), t]));
}

export function prefixedSpecs(prefix: string, specs: Record<string, StateSpec>): Record<string, StateSpec> {
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [`${prefix}.${name}`, spec]));
}
