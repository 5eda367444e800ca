/**
 * All parameters of a model in one flat tensor, and whatever training keeps of them in tensors of the same layout:
 * the optimiser is then one kernel, a norm is one sum, and a checkpoint is a few arrays.
 *
 * Decayed parameters come first. Each parameter starts at a multiple of `ALIGNMENT` elements, because devices bind
 * buffers at such offsets; the gaps are zero and stay zero (their gradients are).
 */
import type { Backend, NumericArray } from '../backend.js';
import { EngineError } from '../errors.js';
import type { Graph } from '../graph.js';
import type { ParameterSpec, Weights } from '../layers/parameters.js';
import type { Random } from '../random.js';
import { sizeOf, type Tensor } from '../tensor.js';

const ALIGNMENT = 64;

export interface ParameterPlace {
  readonly name: string;
  readonly shape: readonly number[];
  readonly decay: boolean;
  /** Elements from the start of the arena. */
  readonly offset: number;
}

/** Where every parameter lies. A function of the specs alone. */
export class ParameterLayout {
  readonly places: readonly ParameterPlace[];
  /** Elements of the arena, gaps included. */
  readonly size: number;
  /** Elements before it are decayed. */
  readonly decayEnd: number;
  /** Elements that are parameters. */
  readonly count: number;
  private readonly byName: ReadonlyMap<string, ParameterPlace>;

  constructor(readonly specs: readonly ParameterSpec[]) {
    let end = 0;
    let decayEnd = 0;
    const places: ParameterPlace[] = [];
    for (const decay of [true, false]) {
      for (const spec of specs) {
        if (spec.decay !== decay) continue;
        places.push({ name: spec.name, shape: spec.shape, decay, offset: end });
        end += Math.ceil(sizeOf(spec.shape) / ALIGNMENT) * ALIGNMENT;
      }
      if (decay) decayEnd = end;
    }
    this.places = places;
    this.size = end;
    this.decayEnd = decayEnd;
    this.count = specs.reduce((sum, spec) => sum + sizeOf(spec.shape), 0);
    this.byName = new Map(places.map((place) => [place.name, place]));
    if (this.byName.size !== specs.length) {
      const names = specs.map((spec) => spec.name);
      const twice = names.find((name, i) => names.indexOf(name) !== i);
      throw new EngineError({ code: 'PARAMETER_TWICE', message: `two parameters are called ${twice}` });
    }
  }

  place(name: string): ParameterPlace {
    const place = this.byName.get(name);
    if (!place) {
      throw new EngineError({
        code: 'PARAMETER_MISSING',
        message: `the model has no parameter ${name}`,
        where: { field: name },
        fix: 'check the configuration of the layer',
      });
    }
    return place;
  }

  /** The layout in words, to tell whether a checkpoint fits. */
  describe(): string {
    return this.places.map(({ name, shape, offset }) => `${name}[${shape}]@${offset}`).join(';');
  }

  /** The initial values of all parameters, in arena layout. */
  initial(random: Random): Float32Array {
    const out = new Float32Array(this.size);
    // In the order of the specs, so that the numbers do not depend on which parameters are decayed.
    for (const spec of this.specs) out.set(spec.init(random), this.place(spec.name).offset);
    return out;
  }

  /** Parameters by name out of an array in arena layout; views. */
  split<A extends NumericArray>(values: A): Map<string, A> {
    return new Map(
      this.places.map(({ name, shape, offset }) => [name, values.subarray(offset, offset + sizeOf(shape)) as A]),
    );
  }

  /** An array in arena layout from parameters by name. @throws EngineError `PARAMETER_MISSING`, `PARAMETER_SHAPE` */
  join(read: (name: string) => { shape: readonly number[]; data: ArrayLike<number> }): Float32Array {
    const out = new Float32Array(this.size);
    for (const { name, shape, offset } of this.places) {
      const given = read(name);
      if (given.shape.join() !== shape.join()) {
        throw new EngineError({
          code: 'PARAMETER_SHAPE',
          message: `${name} is [${given.shape}], the configuration wants [${shape}]`,
          where: { field: name },
          fix: 'use the configuration the weights were made with',
        });
      }
      out.set(given.data, offset);
    }
    return out;
  }
}

/** One tensor in arena layout on a backend. */
export class Arena {
  readonly tensor: Tensor;

  constructor(
    readonly backend: Backend,
    readonly layout: ParameterLayout,
  ) {
    this.tensor = backend.alloc([layout.size]);
  }

  /** Looks parameters up as views of the arena. */
  readonly weights: Weights = (name) => {
    const { shape, offset } = this.layout.place(name);
    return { ...this.tensor, shape, offset: this.tensor.offset + offset, stride: shape[shape.length - 1]! };
  };

  zero(): void {
    this.backend.kernels.fill(this.tensor, 0);
  }

  write(values: ArrayLike<number>): void {
    this.backend.write(this.tensor, values);
  }

  read(): Promise<NumericArray> {
    return this.backend.read(this.tensor);
  }

  free(): void {
    this.backend.free(this.tensor);
  }
}

/** Parameters and gradients for a training graph: one view each, so that the graph knows them by identity. */
export class TrainableParameters {
  readonly parameters: Arena;
  readonly gradients: Arena;
  private readonly views = new Map<string, Tensor>();

  constructor(
    readonly backend: Backend,
    readonly layout: ParameterLayout,
  ) {
    this.parameters = new Arena(backend, layout);
    this.gradients = new Arena(backend, layout);
    // The gaps between gradients are never written by a graph.
    this.gradients.zero();
    for (const { name } of layout.places) this.views.set(name, this.parameters.weights(name));
  }

  readonly weights: Weights = (name) => this.views.get(name) ?? this.parameters.weights(name);

  /** Let the graph write all gradients into the arena. Call before building the model in it. */
  register(graph: Graph): void {
    for (const [name, view] of this.views) graph.trainable(view, this.gradients.weights(name));
  }

  free(): void {
    this.parameters.free();
    this.gradients.free();
  }
}
