/** From a checkpoint's tensors to a model's parameters: every name and shape checked, in both spellings of the field. */
import type { Backend } from '../backend.js';
import { EngineError } from '../errors.js';
import type { ParameterSpec, Weights } from '../layers/parameters.js';
import type { Tensor } from '../tensor.js';
import { type TensorSource, toFloat32 } from '../weights/safetensors.js';
import { languageModelParameters } from './language-model.js';
import type { LanguageModelConfig } from './language-model-config.js';

const HEAD = 'lm_head.weight';
const EMBEDDING = 'backbone.embeddings.weight';
/** mamba_ssm's spelling. */
const EMBEDDING_SINGULAR = 'backbone.embedding.weight';

function fail(code: string, message: string, source: TensorSource, field: string): EngineError {
  const fix = 'use the config.json that belongs to the weights';
  return new EngineError({ code, message, where: { file: source.file, field }, fix });
}

/** The name under which a checkpoint has a parameter. */
function spelling(source: TensorSource, name: string): string {
  return name === EMBEDDING && !source.entries.has(name) && source.entries.has(EMBEDDING_SINGULAR)
    ? EMBEDDING_SINGULAR
    : name;
}

/**
 * Whether a file's shape is the parameter's. Depthwise convolutions are [channels, 1, width] in files and [channels, width] here:
 * the same numbers in the same order.
 */
function fits(spec: ParameterSpec, shape: readonly number[]): boolean {
  const squeezed = spec.name.endsWith('conv1d.weight') && shape.length === 3 && shape[1] === 1;
  const found = squeezed ? [shape[0], shape[2]] : shape;
  return found.length === spec.shape.length && found.every((extent, i) => extent === spec.shape[i]);
}

/** `config.tied`, or what the checkpoint implies where its configuration says nothing. */
export function resolveTied(config: LanguageModelConfig, source: TensorSource): LanguageModelConfig {
  return { ...config, tied: config.tied ?? !source.entries.has(HEAD) };
}

/**
 * The parameters of `config` as float32, by their names in `languageModelParameters`.
 *
 * @param config with `tied` resolved
 * @throws EngineError TENSOR_MISSING, TENSOR_SHAPE, TENSOR_DTYPE, TENSOR_EXTRA (a tensor the model has no place for), TENSOR_TIED
 *   (a head that should be the embedding and is not), each naming the tensor
 */
export function readLanguageModelWeights(config: LanguageModelConfig, source: TensorSource): Map<string, Float32Array> {
  const specs = languageModelParameters(config);
  const expected = new Set(specs.map(({ name }) => spelling(source, name)));
  // A tied checkpoint may carry its head all the same.
  if (config.tied) expected.add(HEAD);
  for (const name of source.entries.keys()) {
    if (!expected.has(name)) throw fail('TENSOR_EXTRA', 'the model has no place for this tensor', source, name);
  }
  const weights = new Map<string, Float32Array>();
  for (const spec of specs) {
    const name = spelling(source, spec.name);
    const entry = source.entries.get(name);
    if (!entry) throw fail('TENSOR_MISSING', `the tensor [${spec.shape}] is not in the checkpoint`, source, name);
    if (!fits(spec, entry.shape)) {
      throw fail('TENSOR_SHAPE', `the tensor is [${entry.shape}], the model needs [${spec.shape}]`, source, name);
    }
    weights.set(spec.name, readFloats(source, name));
  }
  if (config.tied && source.entries.has(HEAD)) {
    const [head, embedding] = [readFloats(source, HEAD), weights.get(EMBEDDING) as Float32Array];
    if (head.length !== embedding.length || head.some((value, i) => value !== embedding[i])) {
      throw fail('TENSOR_TIED', 'the configuration ties the head to the embedding, but they differ', source, HEAD);
    }
  }
  return weights;
}

function readFloats(source: TensorSource, name: string): Float32Array {
  const tensor = source.read(name);
  if (!['F64', 'F32', 'F16', 'BF16'].includes(tensor.dtype)) {
    throw fail('TENSOR_DTYPE', `${tensor.dtype} where floats are needed`, source, name);
  }
  return toFloat32(tensor);
}

/** Parameters on a backend. */
export interface Parameters {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly lookup: Weights;
  free(): void;
}

/** Copies parameters to a backend; shapes as in `specs`. */
export function uploadParameters(
  backend: Backend,
  specs: readonly ParameterSpec[],
  values: ReadonlyMap<string, ArrayLike<number>>,
): Parameters {
  const tensors = new Map<string, Tensor>();
  for (const { name, shape } of specs) {
    const tensor = backend.alloc(shape);
    tensors.set(name, tensor);
    backend.write(tensor, values.get(name) as ArrayLike<number>);
  }
  const lookup = (name: string): Tensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new RangeError(`no parameter ${name}`);
    return tensor;
  };
  return {
    tensors,
    lookup,
    free: () => {
      for (const tensor of tensors.values()) backend.free(tensor);
    },
  };
}
