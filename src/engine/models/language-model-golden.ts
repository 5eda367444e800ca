/** Golden outputs of a language model as tensors: `input_ids`, `logits`, and, where given, `loss`, `hidden_states.N` and gradients. */
import { EngineError } from '../errors.js';
import { sizeOf } from '../tensor.js';
import { entryOf, type TensorSource, toFloat32, toInt32 } from '../weights/safetensors.js';
import { languageModelParameters } from './language-model.js';
import type { LanguageModelConfig } from './language-model-config.js';
import type { Golden } from './language-model-verify.js';

function bad(source: TensorSource, field: string, message: string): EngineError {
  const fix = 'use the expected outputs that belong to the checkpoint';
  return new EngineError({ code: 'GOLDEN', message, where: { file: source.file, field }, fix });
}

/** Floats of a tensor that must have `shape`. */
function floats(source: TensorSource, name: string, shape: readonly number[]): Float32Array {
  const found = entryOf(source, name).shape;
  if (found.length !== shape.length || found.some((extent, i) => extent !== shape[i])) {
    throw bad(source, name, `the tensor is [${found}], the model gives [${shape}]`);
  }
  return toFloat32(source.read(name));
}

/**
 * @param config with `tied` resolved
 * @throws EngineError GOLDEN or TENSOR_MISSING naming the tensor
 */
export function readGolden(config: LanguageModelConfig, expected: TensorSource, gradients?: TensorSource): Golden {
  const { shape } = entryOf(expected, 'input_ids');
  if (shape.length !== 2 || sizeOf(shape) === 0) throw bad(expected, 'input_ids', `[${shape}] is not [batch, length]`);
  const [batch, length] = shape;
  const ids = toInt32(expected.read('input_ids'), expected.file, 'input_ids');
  const outside = ids.find((id) => id < 0 || id >= config.vocabulary);
  if (outside !== undefined)
    throw bad(expected, 'input_ids', `id ${outside} with a vocabulary of ${config.vocabulary}`);
  const golden: Golden = { batch, length, ids, logits: floats(expected, 'logits', [...shape, config.vocabulary]) };
  if (expected.entries.has('loss')) {
    const loss = toFloat32(expected.read('loss'));
    if (loss.length !== 1) throw bad(expected, 'loss', `${loss.length} numbers`);
    golden.loss = loss[0];
  }
  const hidden: Float32Array[] = [];
  while (expected.entries.has(`hidden_states.${hidden.length}`)) {
    hidden.push(floats(expected, `hidden_states.${hidden.length}`, [...shape, config.dModel]));
  }
  if (hidden.length > 0 && hidden.length !== config.nLayers + 1) {
    throw bad(expected, 'hidden_states', `${hidden.length} hidden states of a model with ${config.nLayers} layers`);
  }
  if (hidden.length > 0) golden.hidden = hidden;
  if (gradients) golden.gradients = readGradients(config, gradients);
  return golden;
}

/** Every gradient must belong to a parameter and every parameter have one. */
function readGradients(config: LanguageModelConfig, source: TensorSource): Map<string, Float32Array> {
  const specs = languageModelParameters(config);
  const names = new Set(specs.map(({ name }) => name));
  const extra = [...source.entries.keys()].find((name) => !names.has(name));
  if (extra !== undefined) throw bad(source, extra, 'the model has no parameter of this name');
  return new Map(
    specs.map(({ name, shape }) => {
      const values = toFloat32(source.read(name));
      if (values.length !== sizeOf(shape)) throw bad(source, name, `${values.length} numbers for [${shape}]`);
      return [name, values];
    }),
  );
}
