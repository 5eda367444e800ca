/**
 * Memory and gradients of a graph: who still needs a tensor, which gradients have been written, and the reverse pass.
 *
 * A tensor lives while a scope or a recorded operation holds it. Gradients are made when the reverse pass first needs
 * them and given back as soon as the operation that produced their tensor has been passed. Nothing here computes.
 */
import type { Backend } from './backend.js';
import { EngineError } from './errors.js';
import { columns, columnsOf, repeatRow, type Tensor } from './tensor.js';

/** One operation to be passed in reverse. */
interface Node {
  outputs: Tensor[];
  saved: Tensor[];
  backward(): void;
}

interface Gradient {
  tensor: Tensor;
  /** Column ranges that hold a contribution already. */
  written: [number, number][];
  /** Parameters' gradients belong to the caller. */
  owned: boolean;
}

/** Where a backward kernel writes a gradient. */
export interface Destination {
  tensor: Tensor;
  /** A contribution is there already: the kernel may add to it (and say so) or `finish` does. */
  occupied: boolean;
  /** Call after the kernel. */
  finish(): void;
}

export class Tape {
  private readonly holders = new Map<Tensor, number>();
  private readonly scopes: Tensor[][] = [];
  private readonly views = new WeakMap<Tensor, { root: Tensor; from: number }>();
  private readonly gradients = new Map<Tensor, Gradient>();
  private readonly differentiable = new WeakSet<Tensor>();
  private readonly parameters: Tensor[] = [];
  private nodes: Node[] = [];
  /** Off inside recomputed sections' first pass and in inference. */
  taping: boolean;

  constructor(
    private readonly backend: Backend,
    train: boolean,
  ) {
    this.taping = train;
  }

  // Memory

  alloc(shape: readonly number[], dtype?: Tensor['dtype']): Tensor {
    const t = this.backend.alloc(shape, dtype);
    this.holders.set(t, 1);
    this.scopes.at(-1)?.push(t);
    return t;
  }

  private rootOf(t: Tensor): Tensor {
    return this.views.get(t)?.root ?? t;
  }

  private hold(t: Tensor): void {
    const root = this.rootOf(t);
    const count = this.holders.get(root);
    if (count !== undefined) this.holders.set(root, count + 1);
  }

  /** Drop one hold; the last one frees. Tensors not made here (parameters, inputs, states) are left alone. */
  release(t: Tensor): void {
    const root = this.rootOf(t);
    const count = this.holders.get(root);
    if (count === undefined) return;
    if (count > 1) {
      this.holders.set(root, count - 1);
      return;
    }
    this.holders.delete(root);
    this.backend.free(root);
  }

  /** Give back a tensor before its scope ends. */
  drop(t: Tensor): void {
    const root = this.rootOf(t);
    for (const made of this.scopes) {
      const i = made.indexOf(root);
      if (i >= 0) made.splice(i, 1);
    }
    this.release(root);
  }

  /** Run `body`; of the tensors made in it only the returned ones (and what the tape saved) outlive it. */
  scope<T extends Tensor | readonly Tensor[] | undefined>(body: () => T): T {
    const made: Tensor[] = [];
    this.scopes.push(made);
    let result: T;
    try {
      result = body();
    } finally {
      this.scopes.pop();
    }
    const kept = new Set(
      (Array.isArray(result) ? result : result ? [result] : []).map((t) => this.rootOf(t as Tensor)),
    );
    for (const t of made) {
      if (kept.has(t)) this.scopes.at(-1)?.push(t);
      else this.release(t);
    }
    return result;
  }

  /** Adjacent column ranges of one tensor whose gradients gather in that tensor's gradient. */
  split(t: Tensor, widths: readonly number[]): Tensor[] {
    const above = this.views.get(t) ?? { root: t, from: 0 };
    let from = 0;
    return widths.map((width) => {
      const view = columns(t, from, from + width);
      this.views.set(view, { root: above.root, from: above.from + from });
      if (this.wants(t)) this.differentiable.add(view);
      from += width;
      return view;
    });
  }

  /** The tensor under other leading dimensions; gradients gather in the original's. */
  reshape(t: Tensor, shape: readonly number[]): Tensor {
    const view = { ...t, shape: [...shape] };
    this.views.set(view, this.views.get(t) ?? { root: t, from: 0 });
    if (this.wants(t)) this.differentiable.add(view);
    return view;
  }

  /** One row read as every row of `shape`, a constant to the gradient. It keeps the row's memory alive while it is saved. */
  repeat(t: Tensor, shape: readonly number[]): Tensor {
    const view = repeatRow(t, shape);
    this.views.set(view, this.views.get(t) ?? { root: t, from: 0 });
    return view;
  }

  // Recording

  /** Gradients with respect to `t` go to `gradient`, overwritten by the next reverse pass. */
  trainable(t: Tensor, gradient: Tensor): void {
    this.gradients.set(t, { tensor: gradient, written: [], owned: false });
    this.differentiable.add(t);
    this.parameters.push(t);
  }

  wants(t: Tensor | undefined): boolean {
    return t !== undefined && this.differentiable.has(t);
  }

  /** Remember an operation, unless none of its inputs leads to a trainable tensor. */
  record(
    inputs: readonly (Tensor | undefined)[],
    outputs: Tensor[],
    saved: readonly (Tensor | undefined)[],
    backward: () => void,
  ): void {
    if (!this.taping || !inputs.some((t) => this.wants(t))) return;
    for (const t of outputs) this.differentiable.add(t);
    const held = saved.filter((t) => t !== undefined);
    for (const t of held) this.hold(t);
    this.nodes.push({ outputs, saved: held, backward });
  }

  // Gradients

  private entry(root: Tensor): Gradient {
    let entry = this.gradients.get(root);
    if (!entry) {
      entry = { tensor: this.backend.alloc(root.shape), written: [], owned: true };
      this.gradients.set(root, entry);
    }
    return entry;
  }

  private place(t: Tensor): { entry: Gradient; tensor: Tensor; from: number; to: number } {
    const { root, from } = this.views.get(t) ?? { root: t, from: 0 };
    const entry = this.entry(root);
    const to = from + columnsOf(t);
    const whole = from === 0 && to === columnsOf(root);
    return { entry, tensor: whole ? entry.tensor : columns(entry.tensor, from, to), from, to };
  }

  /** Zero whatever part of [from, to) nobody has written. */
  private complete(entry: Gradient, from: number, to: number): void {
    const inside = entry.written.filter(([a, b]) => a < to && b > from).sort((p, q) => p[0] - q[0]);
    let next = from;
    for (const [a, b] of [...inside, [to, to] as [number, number]]) {
      if (a > next) this.backend.kernels.fill(columns(entry.tensor, next, a), 0);
      next = Math.max(next, b);
    }
    if (next > from) entry.written.push([from, to]);
  }

  /** Gradient of an output whose operation is now passed in reverse: zeros where nothing came in, undefined if nothing at all did. */
  gradient(t: Tensor): Tensor | undefined {
    const { root, from } = this.views.get(t) ?? { root: t, from: 0 };
    const entry = this.gradients.get(root);
    const to = from + columnsOf(t);
    if (!entry?.written.some(([a, b]) => a < to && b > from)) return undefined;
    this.complete(entry, from, to);
    return this.place(t).tensor;
  }

  /** Where to write the gradient of an input. Inputs that need none get scratch memory, since kernels write all of theirs. */
  destination(t: Tensor): Destination {
    if (!this.wants(t)) {
      const scratch = this.backend.alloc(t.shape);
      return { tensor: scratch, occupied: false, finish: () => this.backend.free(scratch) };
    }
    const { entry, tensor, from, to } = this.place(t);
    const occupied = entry.written.some(([a, b]) => a < to && b > from);
    if (!occupied) {
      return {
        tensor,
        occupied,
        finish: () => {
          entry.written.push([from, to]);
        },
      };
    }
    this.complete(entry, from, to);
    return { tensor, occupied, finish: () => {} };
  }

  /** As `destination`, for kernels that cannot accumulate: a second contribution goes through scratch memory. */
  exclusive(t: Tensor): Destination {
    const target = this.destination(t);
    if (!target.occupied) return target;
    const scratch = this.backend.alloc(t.shape);
    return {
      tensor: scratch,
      occupied: false,
      finish: () => {
        this.backend.kernels.binary({ out: target.tensor, a: target.tensor, b: scratch, fn: 'add' });
        this.backend.free(scratch);
        target.finish();
      },
    };
  }

  /**
   * Add the whole gradient of the output `from` to that of the input `t`. Called last in an operation's backward: where
   * nothing is there yet the gradient is handed over instead of copied, which is what residual streams do all day.
   */
  passOn(from: Tensor, t: Tensor): void {
    const entry = this.gradients.get(from);
    if (entry?.owned && !this.views.has(t) && !this.gradients.has(t)) {
      this.gradients.delete(from);
      this.gradients.set(t, entry);
      return;
    }
    const value = this.gradient(from);
    if (!value) return;
    const d = this.destination(t);
    if (d.occupied) this.backend.kernels.binary({ out: d.tensor, a: d.tensor, b: value, fn: 'add' });
    else this.backend.kernels.copy(d.tensor, value);
    d.finish();
  }

  private consume(t: Tensor): void {
    const entry = this.gradients.get(t);
    if (!entry?.owned) return;
    this.backend.free(entry.tensor);
    this.gradients.delete(t);
  }

  /**
   * Record `body` as one operation that keeps only its inputs: its inside is computed once without taping and again
   * on the reverse pass (Chen et al. 2016, "Training deep nets with sublinear memory cost").
   */
  recompute(inputs: readonly Tensor[], body: () => Tensor): Tensor {
    if (!this.taping) return this.scope(body);
    this.taping = false;
    let out: Tensor;
    try {
      out = this.scope(body);
    } finally {
      this.taping = true;
    }
    // The body's parameters are trainable even where its inputs are not.
    this.record([...inputs, this.parameters[0]], [out], inputs, () => {
      const upstream = this.gradient(out);
      if (!upstream) return;
      const mark = this.nodes.length;
      this.scope(() => {
        const again = body();
        this.gradients.set(again, { tensor: upstream, written: [[0, columnsOf(again)]], owned: false });
        this.reverse(mark);
        this.gradients.delete(again);
        return undefined;
      });
    });
    return out;
  }

  private reverse(mark: number): void {
    while (this.nodes.length > mark) {
      const node = this.nodes[this.nodes.length - 1];
      // Popped first, so that a recomputed section can tape its inside on top of what is left.
      this.nodes.pop();
      node.backward();
      for (const t of node.outputs) this.consume(t);
      for (const t of node.saved) this.release(t);
    }
  }

  /** Pass everything recorded in reverse, from the gradients seeded by losses. Parameters no path reached get zeros. */
  backward(): void {
    if (!this.taping) {
      throw new EngineError({
        code: 'NOT_TRAINING',
        message: 'backward on a graph made for inference',
        fix: 'make the graph with train: true',
      });
    }
    if (this.nodes.length === 0) {
      throw new EngineError({
        code: 'NOTHING_TO_DIFFERENTIATE',
        message: 'no operation led to a trainable tensor',
        fix: 'register parameters with trainable() before building the model',
      });
    }
    this.reverse(0);
    for (const [t, entry] of this.gradients) {
      if (entry.owned) this.consume(t);
      else {
        this.complete(entry, 0, columnsOf(entry.tensor));
        entry.written = [];
      }
    }
  }
}
