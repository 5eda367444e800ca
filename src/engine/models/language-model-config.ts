/**
 * The shape of a Mamba language model, read from a checkpoint's config.json: Hugging Face's (`model_type` mamba or mamba2)
 * or mamba_ssm's own (`ssm_cfg`). What we cannot compute is an error, never ignored.
 */
import { EngineError } from '../errors.js';
import type { Mamba1Config } from '../layers/mamba1.js';
import type { Mamba2Config } from '../layers/mamba2.js';
import type { Json } from '../weights/json.js';

export interface LanguageModelConfig {
  vocabulary: number;
  dModel: number;
  nLayers: number;
  /** Of the norms before every mixer and after the last. */
  eps: number;
  mixer: ({ kind: 'mamba1' } & Mamba1Config) | ({ kind: 'mamba2' } & Mamba2Config);
  /** Whether the head is the embedding. Undefined: it is unless the checkpoint has an lm_head.weight. */
  tied: boolean | undefined;
}

/** Typed access to the fields of one JSON object; every error names the field. */
class Fields {
  private readonly object: { [key: string]: Json };

  constructor(
    value: Json | undefined,
    private readonly file: string,
    private readonly path = '',
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.error('', 'is not an object');
    this.object = value;
  }

  error(name: string, what: string, fix = 'use the config.json that belongs to the weights'): EngineError {
    const field = `${this.path}${name}`;
    return new EngineError({
      code: 'MODEL_CONFIG',
      message: `${field || 'the configuration'} ${what}`,
      where: { file: this.file, ...(field ? { field } : {}) },
      fix,
    });
  }

  has(name: string): boolean {
    return this.object[name] !== undefined && this.object[name] !== null;
  }

  private get<T>(name: string, fallback: T | undefined, what: string, accept: (value: Json) => T | undefined): T {
    if (!this.has(name)) {
      if (fallback !== undefined) return fallback;
      throw this.error(name, 'is missing');
    }
    const value = accept(this.object[name]);
    if (value === undefined) throw this.error(name, `is not ${what}`);
    return value;
  }

  count(name: string, fallback?: number): number {
    return this.get(name, fallback, 'a whole number from 1 to 2^31', (v) =>
      typeof v === 'number' && Number.isInteger(v) && v >= 1 && v <= 2 ** 31 ? v : undefined,
    );
  }

  flag(name: string, fallback?: boolean): boolean {
    return this.get(name, fallback, 'true or false', (v) => (typeof v === 'boolean' ? v : undefined));
  }

  positive(name: string, fallback?: number): number {
    return this.get(name, fallback, 'a positive number', (v) =>
      typeof v === 'number' && v > 0 && v < Number.POSITIVE_INFINITY ? v : undefined,
    );
  }

  text(name: string, fallback?: string): string {
    return this.get(name, fallback, 'a text', (v) => (typeof v === 'string' ? v : undefined));
  }

  /** Limits of dt; Infinity as Python writes it, or as transformers 5 does: {"__float__": "Infinity"}. */
  range(name: string): readonly [number, number] {
    const number = (v: Json): number =>
      typeof v === 'object' && v !== null && !Array.isArray(v) && v.__float__ === 'Infinity'
        ? Number.POSITIVE_INFINITY
        : typeof v === 'number'
          ? v
          : Number.NaN;
    return this.get(name, [0, Number.POSITIVE_INFINITY] as const, 'a pair 0 ≤ low ≤ high', (v) => {
      if (!Array.isArray(v) || v.length !== 2) return undefined;
      const [low, high] = v.map(number);
      return low >= 0 && low <= high ? ([low, high] as const) : undefined;
    });
  }

  /** A rank, or 'auto': dModel / 16, rounded up. */
  rank(name: string, dModel: number): number {
    return this.object[name] === 'auto' ? Math.ceil(dModel / 16) : this.count(name, Math.ceil(dModel / 16));
  }

  inner(name: string): Fields {
    return new Fields(this.object[name] ?? Object.create(null), this.file, `${this.path}${name}.`);
  }

  /** Refuses a field that asks for layers we do not have: anything but 0, an empty list or nothing. */
  none(name: string): void {
    const value = this.object[name] ?? 0;
    if (value !== 0 && !(Array.isArray(value) && value.length === 0)) {
      throw this.error(name, 'asks for layers other than Mamba', 'only pure Mamba models are supported');
    }
  }
}

/**
 * @param file the file's name, for messages
 * @throws EngineError MODEL_CONFIG naming the field
 */
export function parseLanguageModelConfig(json: Json, file: string): LanguageModelConfig {
  const fields = new Fields(json, file);
  if (!fields.has('model_type') && fields.has('d_model')) return mambaSsmConfig(fields);
  const kind = fields.text('model_type');
  if (kind === 'mamba') return transformersMamba1(fields);
  if (kind === 'mamba2') return transformersMamba2(fields);
  throw fields.error('model_type', `is ${JSON.stringify(kind)}`, 'only mamba and mamba2 are supported');
}

function transformersCommon(fields: Fields) {
  const act = fields.text('hidden_act', 'silu');
  if (act !== 'silu' && act !== 'swish') throw fields.error('hidden_act', `is ${act}`, 'only silu is supported');
  return {
    vocabulary: fields.count('vocab_size'),
    dModel: fields.count('hidden_size'),
    nLayers: fields.count('num_hidden_layers'),
    eps: fields.positive('layer_norm_epsilon', 1e-5),
    tied: fields.has('tie_word_embeddings') ? fields.flag('tie_word_embeddings') : undefined,
  };
}

function transformersMamba1(fields: Fields): LanguageModelConfig {
  const common = transformersCommon(fields);
  const { dModel } = common;
  return {
    ...common,
    mixer: {
      kind: 'mamba1',
      dModel,
      dInner: fields.count('intermediate_size', Math.floor(fields.positive('expand', 2) * dModel)),
      dState: fields.count('state_size'),
      dtRank: fields.rank('time_step_rank', dModel),
      convWidth: fields.count('conv_kernel', 4),
      convBias: fields.flag('use_conv_bias', true),
      projectionBias: fields.flag('use_bias', false),
    },
  };
}

/** `rms_norm` and `norm_before_gate`, which older files carry, have no effect in transformers, so they have none here. */
function transformersMamba2(fields: Fields): LanguageModelConfig {
  const common = transformersCommon(fields);
  const { dModel } = common;
  const nHeads = fields.count('num_heads');
  const dInner = nHeads * fields.count('head_dim');
  const expanded = Math.floor(fields.positive('expand', 2) * dModel);
  if (expanded !== dInner) {
    throw fields.error('num_heads', `times head_dim is ${dInner}, but expand times hidden_size ${expanded}`);
  }
  return {
    ...common,
    mixer: {
      kind: 'mamba2',
      dModel,
      dInner,
      nHeads,
      dState: fields.count('state_size'),
      nGroups: groups(fields, 'n_groups', nHeads),
      convWidth: fields.count('conv_kernel', 4),
      convBias: fields.flag('use_conv_bias', true),
      projectionBias: fields.flag('use_bias', false),
      dtLimit: fields.range('time_step_limit'),
      normEps: common.eps,
      // transformers normalises the whole inner width whatever the number of groups.
      normGroupSize: dInner,
    },
  };
}

function groups(fields: Fields, name: string, nHeads: number, fallback?: number): number {
  const nGroups = fields.count(name, fallback);
  if (nHeads % nGroups !== 0) throw fields.error(name, `is ${nGroups}, which does not divide ${nHeads} heads`);
  return nGroups;
}

/** mamba_ssm's MambaConfig: fields of the layer in `ssm_cfg`, defaults as in its modules. */
function mambaSsmConfig(fields: Fields): LanguageModelConfig {
  const dModel = fields.count('d_model');
  const multiple = fields.count('pad_vocab_size_multiple', 8);
  const ssm = fields.inner('ssm_cfg');
  const only = (f: Fields, name: string, value: boolean) => {
    if (f.flag(name, value) !== value) throw f.error(name, `is ${!value}`, `only ${value} is supported`);
  };
  only(fields, 'rms_norm', true);
  fields.none('attn_layer_idx');
  fields.none('d_intermediate');
  const dInner = Math.floor(ssm.positive('expand', 2) * dModel);
  const shared = {
    dModel,
    dInner,
    convWidth: ssm.count('d_conv', 4),
    convBias: ssm.flag('conv_bias', true),
    projectionBias: ssm.flag('bias', false),
  };
  const common = {
    vocabulary: Math.ceil(fields.count('vocab_size') / multiple) * multiple,
    dModel,
    nLayers: fields.count('n_layer'),
    eps: 1e-5,
    tied: fields.flag('tie_embeddings', true),
  };
  const layer = ssm.text('layer', 'Mamba1');
  if (layer === 'Mamba1') {
    const mixer = { ...shared, dState: ssm.count('d_state', 16), dtRank: ssm.rank('dt_rank', dModel) };
    return { ...common, mixer: { kind: 'mamba1', ...mixer } };
  }
  if (layer !== 'Mamba2') throw ssm.error('layer', `is ${layer}`, 'only Mamba1 and Mamba2 are supported');
  const headDim = ssm.count('headdim', 64);
  if (dInner % headDim !== 0) throw ssm.error('headdim', `is ${headDim}, which does not divide ${dInner} channels`);
  only(ssm, 'rmsnorm', true);
  only(ssm, 'norm_before_gate', false);
  only(ssm, 'D_has_hdim', false);
  const nHeads = dInner / headDim;
  const nGroups = groups(ssm, 'ngroups', nHeads, 1);
  return {
    ...common,
    mixer: {
      kind: 'mamba2',
      ...shared,
      nHeads,
      nGroups,
      dState: ssm.count('d_state', 128),
      dtLimit: ssm.range('dt_limit'),
      normEps: 1e-5,
      normGroupSize: dInner / nGroups,
    },
  };
}
