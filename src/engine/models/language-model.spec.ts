import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createReferenceBackend } from '../backends/reference/index.js';
import { Graph } from '../graph.js';
import { Random } from '../random.js';
import { openCheckpoint } from '../weights/file.js';
import { Safetensors, type SafetensorsTensor, writeSafetensors } from '../weights/safetensors.js';
import { LanguageModel, languageModelParameters } from './language-model.js';
import { type LanguageModelConfig, parseLanguageModelConfig } from './language-model-config.js';
import { readGolden } from './language-model-golden.js';
import { verifyLanguageModel } from './language-model-verify.js';
import { readLanguageModelWeights, resolveTied, uploadParameters } from './language-model-weights.js';

const mamba1Json = {
  model_type: 'mamba',
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 2,
  state_size: 4,
  intermediate_size: 16,
  time_step_rank: 'auto',
};
const mamba2Json = {
  model_type: 'mamba2',
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 2,
  state_size: 4,
  num_heads: 4,
  head_dim: 4,
  n_groups: 2,
  tie_word_embeddings: true,
};
const parse = (json: object) => parseLanguageModelConfig(json as never, 'config.json');

/** A checkpoint of the configuration with random weights, as the Hub spells them. */
function tensorsOf(config: LanguageModelConfig, dtype: 'F32' | 'F64' = 'F32'): Record<string, SafetensorsTensor> {
  const random = new Random(1);
  return Object.fromEntries(
    languageModelParameters(config).map((spec) => {
      const values = spec.init(random);
      const shape = spec.name.endsWith('conv1d.weight') ? [spec.shape[0], 1, spec.shape[1]] : spec.shape;
      return [spec.name, { dtype, shape, data: dtype === 'F64' ? Float64Array.from(values) : values }];
    }),
  );
}
const source = (tensors: Record<string, SafetensorsTensor>) => new Safetensors(writeSafetensors(tensors), 'm');

describe('config.json', () => {
  it('gives the shape of a Mamba model with the defaults of transformers', () => {
    expect(parse(mamba1Json)).toMatchObject({
      vocabulary: 11,
      nLayers: 2,
      eps: 1e-5,
      tied: undefined,
      mixer: { kind: 'mamba1', dInner: 16, dtRank: 1, convWidth: 4, convBias: true, projectionBias: false },
    });
  });

  it('gives the shape of a Mamba-2 model, normalised over the whole inner width', () => {
    expect(parse(mamba2Json).mixer).toMatchObject({
      dInner: 16,
      nGroups: 2,
      normGroupSize: 16,
      dtLimit: [0, Infinity],
    });
  });

  it('reads the limit of dt as Python and as transformers 5 write it', () => {
    const limit = (value: unknown) =>
      (parse({ ...mamba2Json, time_step_limit: value }).mixer as { dtLimit: unknown }).dtLimit;
    expect(limit([0.5, Infinity])).toEqual([0.5, Infinity]);
    expect(limit([0.001, { __float__: 'Infinity' }])).toEqual([0.001, Infinity]);
    expect(() => limit([1, 0.5])).toThrow(expect.objectContaining({ code: 'MODEL_CONFIG' }));
    expect(() => limit([0, Number.NaN])).toThrow(expect.objectContaining({ code: 'MODEL_CONFIG' }));
  });

  it("gives the shape of mamba_ssm's own models, normalised per group, vocabulary padded", () => {
    const json = { d_model: 32, n_layer: 3, vocab_size: 50, pad_vocab_size_multiple: 16 };
    expect(parse({ ...json, ssm_cfg: {} })).toMatchObject({
      vocabulary: 64,
      tied: true,
      mixer: { kind: 'mamba1', dInner: 64, dState: 16, dtRank: 2 },
    });
    expect(parse({ ...json, ssm_cfg: { layer: 'Mamba2', headdim: 16, ngroups: 2 } }).mixer).toMatchObject({
      nHeads: 4,
      dState: 128,
      normGroupSize: 32,
    });
  });

  it.each([
    ['no object', [], undefined],
    ['no kind', {}, 'model_type'],
    ['another kind', { ...mamba1Json, model_type: 'falcon_mamba' }, 'model_type'],
    ['a missing field', { ...mamba1Json, state_size: undefined }, 'state_size'],
    ['a wrong type', { ...mamba1Json, hidden_size: '8' }, 'hidden_size'],
    ['a zero', { ...mamba1Json, num_hidden_layers: 0 }, 'num_hidden_layers'],
    ['another activation', { ...mamba1Json, hidden_act: 'gelu' }, 'hidden_act'],
    ['heads that do not fill the width', { ...mamba2Json, head_dim: 5 }, 'num_heads'],
    ['groups that do not divide the heads', { ...mamba2Json, n_groups: 3 }, 'n_groups'],
    ['attention layers', { d_model: 8, n_layer: 1, vocab_size: 8, attn_layer_idx: [1] }, 'attn_layer_idx'],
    ['MLP layers', { d_model: 8, n_layer: 1, vocab_size: 8, d_intermediate: 16 }, 'd_intermediate'],
    ['another norm', { d_model: 8, n_layer: 1, vocab_size: 8, rms_norm: false }, 'rms_norm'],
    ['another layer', { d_model: 8, n_layer: 1, vocab_size: 8, ssm_cfg: { layer: 'Mamba3' } }, 'ssm_cfg.layer'],
  ])('with %s is an error that names the field', (_, json, field) => {
    expect(() => parse(json)).toThrow(
      expect.objectContaining({
        code: 'MODEL_CONFIG',
        where: field === undefined ? { file: 'config.json' } : { file: 'config.json', field },
      }),
    );
  });
});

describe('checkpoint tensors', () => {
  const config = { ...parse(mamba1Json), tied: true };
  const error = (tensors: Record<string, SafetensorsTensor>, of = config) => {
    try {
      readLanguageModelWeights(of, source(tensors));
    } catch (thrown) {
      const { code, where } = thrown as { code: string; where: { field: string } };
      return [code, where.field];
    }
    return 'read';
  };
  const [embedding, dtBias] = ['backbone.embeddings.weight', 'backbone.layers.1.mixer.dt_proj.bias'];

  it('are read in both spellings of the embedding', () => {
    const { [embedding]: table, ...rest } = tensorsOf(config);
    const weights = readLanguageModelWeights(config, source({ ...rest, 'backbone.embedding.weight': table }));
    expect(weights.get(embedding)).toEqual(table.data);
    expect(error({ ...rest, 'backbone.embedding.weight': table, [embedding]: table })).toEqual([
      'TENSOR_EXTRA',
      'backbone.embedding.weight',
    ]);
  });

  it('that are missing, extra, misshapen or no floats are errors that name the tensor', () => {
    const { [dtBias]: bias, ...rest } = tensorsOf(config);
    expect(error(rest)).toEqual(['TENSOR_MISSING', dtBias]);
    expect(error({ ...rest, [dtBias]: bias, extra: bias })).toEqual(['TENSOR_EXTRA', 'extra']);
    expect(error({ ...rest, [dtBias]: { ...bias, shape: [1, 16] } })).toEqual(['TENSOR_SHAPE', dtBias]);
    expect(error({ ...rest, [dtBias]: { dtype: 'I32', shape: [16], data: new Int32Array(16) } })).toEqual([
      'TENSOR_DTYPE',
      dtBias,
    ]);
  });

  it('may have a head of their own, or the embedding once more', () => {
    const tensors = tensorsOf(config);
    const table = tensors[embedding];
    const other = { ...table, data: Float32Array.from(table.data as Float32Array, (v) => v + 1) };
    expect(error({ ...tensors, 'lm_head.weight': table })).toBe('read');
    expect(error({ ...tensors, 'lm_head.weight': other })).toEqual(['TENSOR_TIED', 'lm_head.weight']);
    expect(error(tensors, { ...config, tied: false })).toEqual(['TENSOR_MISSING', 'lm_head.weight']);
    const free = { ...config, tied: undefined };
    expect(resolveTied(free, source(tensors)).tied).toBe(true);
    const untied = resolveTied(free, source({ ...tensors, 'lm_head.weight': other }));
    expect(untied.tied).toBe(false);
    expect(
      readLanguageModelWeights(untied, source({ ...tensors, 'lm_head.weight': other })).get('lm_head.weight'),
    ).toEqual(other.data);
  });

  it('with biases and without are told apart by the configuration', () => {
    const biased = { ...parse({ ...mamba2Json, use_bias: true, use_conv_bias: false }), tied: true };
    const names = languageModelParameters(biased).map(({ name }) => name);
    expect(names).toContain('backbone.layers.0.mixer.in_proj.bias');
    expect(names).not.toContain('backbone.layers.0.mixer.conv1d.bias');
    expect(error(tensorsOf(biased), biased)).toBe('read');
  });
});

describe('checkpoint folders', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'adder-checkpoint-'));
    writeFileSync(join(folder, 'config.json'), JSON.stringify(mamba1Json));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const config = { ...parse(mamba1Json), tied: true };
  const entries = Object.entries(tensorsOf(config));
  const write = (name: string, part: typeof entries) =>
    writeFileSync(join(folder, name), writeSafetensors(Object.fromEntries(part)));
  const writeIndex = (map: object) =>
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
  const mapOf = (part: typeof entries, shard: string) => Object.fromEntries(part.map(([name]) => [name, shard]));
  const [a, b] = [entries.slice(0, 9), entries.slice(9)];

  it('in one file and in shards give the same weights', () => {
    write('model-1.safetensors', a);
    write('model-2.safetensors', b);
    writeIndex({ ...mapOf(a, 'model-1.safetensors'), ...mapOf(b, 'model-2.safetensors') });
    const sharded = openCheckpoint(folder);
    const fromShards = readLanguageModelWeights(config, sharded.tensors);
    sharded.close();
    write('model.safetensors', entries);
    const single = openCheckpoint(folder);
    expect(readLanguageModelWeights(config, single.tensors)).toEqual(fromShards);
    single.close();
  });

  it.each([
    ['names a shard that is not there', { x: 'model-3.safetensors' }, 'FILE_NOT_FOUND'],
    ['leads out of the folder', { x: '../model-1.safetensors' }, 'BAD_INDEX'],
    ['names a tensor its shard lacks', { x: 'model-1.safetensors' }, 'TENSOR_MISSING'],
    ['leaves out a tensor', mapOf(a.slice(1), 'model-1.safetensors'), 'BAD_INDEX'],
    ['is no map', [], 'BAD_INDEX'],
  ])('whose index %s are an error', (_, map, code) => {
    write('model-1.safetensors', a);
    writeIndex(map);
    expect(() => openCheckpoint(folder)).toThrow(expect.objectContaining({ code }));
  });

  it('without files are an error that names the file', () => {
    expect(() => openCheckpoint(folder)).toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND', where: { file: join(folder, 'model.safetensors') } }),
    );
    expect(() => openCheckpoint(join(folder, 'none'))).toThrow(expect.objectContaining({ code: 'FILE_NOT_FOUND' }));
  });
});

describe('verify', () => {
  const backend = createReferenceBackend();
  const config = { ...parse(mamba2Json), tied: true };
  const weights = readLanguageModelWeights(config, source(tensorsOf(config)));

  /** Outputs of our own model stand in for golden ones: what is tested is that verify finds a difference. */
  async function golden() {
    const { lookup } = uploadParameters(backend, languageModelParameters(config), weights);
    const ids = backend.alloc([2, 9], 'i32');
    const values = Int32Array.from({ length: 18 }, (_, i) => (i * 7) % 11);
    backend.write(ids, values);
    const logits = await backend.read(new LanguageModel(config, lookup).scan(new Graph(backend), ids));
    return readGolden(
      config,
      source({
        input_ids: { dtype: 'I32', shape: [2, 9], data: values },
        logits: { dtype: 'F32', shape: [2, 9, 11], data: Float32Array.from(logits) },
      }),
    );
  }

  it('passes outputs that agree and fails ones that are off by more than the tolerance, or not numbers', async () => {
    const good = await golden();
    const passed = async (outputs: typeof good) => {
      const comparisons = await verifyLanguageModel(backend, config, weights, outputs);
      expect(comparisons.map(({ name }) => name.split(' (')[0])).toEqual([
        'logits, scan',
        'logits, step',
        'logits, split 1',
        'logits, split 2',
        'logits, split 3',
      ]);
      return comparisons.map((comparison) => comparison.passed);
    };
    expect(await passed(good)).toEqual([true, true, true, true, true]);
    const scaled = { ...good, logits: good.logits.map((v) => v * 1.00021) };
    expect(await passed(scaled)).toEqual([false, false, false, false, false]);
    const one = { ...good, logits: good.logits.map((v, i) => (i === 100 ? Number.NaN : v)) };
    expect(await passed(one)).toEqual([false, false, false, false, false]);
  });

  it('refuses golden outputs that do not belong to the model', () => {
    const ids: SafetensorsTensor = { dtype: 'I32', shape: [1, 2], data: Int32Array.of(1, 2) };
    const logits: SafetensorsTensor = { dtype: 'F32', shape: [1, 2, 11], data: new Float32Array(22) };
    const read = (tensors: Record<string, SafetensorsTensor>) => () => readGolden(config, source(tensors));
    const field = (name: string) => expect.objectContaining({ where: { file: 'm', field: name } });
    expect(read({ input_ids: ids, logits })).not.toThrow();
    expect(read({ logits })).toThrow(field('input_ids'));
    expect(read({ input_ids: ids })).toThrow(field('logits'));
    expect(read({ input_ids: { ...ids, data: Int32Array.of(1, 11) }, logits })).toThrow(field('input_ids'));
    expect(read({ input_ids: ids, logits: { ...logits, shape: [1, 11, 2] } })).toThrow(field('logits'));
    expect(read({ input_ids: { ...ids, shape: [2, 1] }, logits })).toThrow(field('logits'));
  });
});
