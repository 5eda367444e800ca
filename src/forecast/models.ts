import { existsSync } from 'node:fs';
import { nearest } from '../commands/command.js';
import { AdderError, quote } from '../platform/errors.js';
import { croston, sba } from './baselines/croston.js';
import { ets } from './baselines/ets.js';
import { LocalForecaster, type LocalMethod } from './baselines/local.js';
import { drift, naive, seasonalNaive } from './baselines/naive.js';
import { theta } from './baselines/theta.js';
import type { Forecaster } from './forecaster.js';

/** The statistical methods by the names that `--model` takes. */
const METHODS: Record<string, { method: LocalMethod; about: string }> = {
  theta: { method: theta, about: 'Theta method on the seasonally adjusted series' },
  ets: { method: ets, about: 'exponential smoothing, form chosen by AICc' },
  'seasonal-naive': { method: seasonalNaive, about: 'the value one season ago' },
  naive: { method: naive, about: 'the last value' },
  drift: { method: drift, about: 'the line through first and last value' },
  croston: { method: croston, about: "Croston's method for intermittent demand" },
  sba: { method: sba, about: 'Croston with the Syntetos-Boylan correction' },
};

/** Options of the neural forecaster; the statistical methods ignore them. */
export interface ModelOptions {
  /** `webgpu`, `wasm` or `reference`; chosen automatically when absent. */
  backend?: string;
}

/** Lines for `--help`. */
export function describeModels(): string {
  const rows = [
    ['adder', 'the neural forecaster (or a folder with its weights)'],
    ...Object.entries(METHODS).map(([name, { about }]) => [name, about]),
  ];
  return rows.map(([name, about]) => `      ${name!.padEnd(15)} ${about}`).join('\n');
}

/**
 * The forecaster of a name: a statistical method, `adder` for the neural model shipped with Adder, or a folder holding
 * weights. This is the only place that knows what names stand for.
 */
export async function resolveForecaster(id = defaultModel(), options: ModelOptions = {}): Promise<Forecaster> {
  const known = Object.hasOwn(METHODS, id) ? METHODS[id] : undefined;
  if (known) return new LocalForecaster(id, known.method);
  if (id === 'adder' || existsSync(id)) return loadNeural(id === 'adder' ? undefined : id, options);
  const near = nearest(id, ['adder', ...Object.keys(METHODS)]);
  throw new AdderError({
    code: 'UNKNOWN_MODEL',
    message: `no model ${quote(id)}`,
    where: { field: '--model' },
    fix: near ? `did you mean ${near}?` : `use adder, ${Object.keys(METHODS).join(', ')}, or a folder with weights`,
  });
}

/** What `src/forecast/model/load.ts` exports. */
interface NeuralModule {
  loadForecaster(options: { model?: string; backend?: string }): Promise<Forecaster>;
}

const NEURAL = new URL('./model/load.js', import.meta.url);

/** The neural model where this build has it, else the best statistical method. */
function defaultModel(): string {
  return existsSync(NEURAL) ? 'adder' : 'theta';
}

async function loadNeural(model: string | undefined, options: ModelOptions): Promise<Forecaster> {
  if (!existsSync(NEURAL)) {
    throw new AdderError({
      code: 'NO_MODEL',
      message: 'this build of Adder has no neural forecaster',
      where: { field: '--model' },
      fix: `use ${Object.keys(METHODS).join(', ')}`,
    });
  }
  const module = (await import(NEURAL.href)) as NeuralModule;
  return module.loadForecaster({
    ...(model ? { model } : {}),
    ...(options.backend ? { backend: options.backend } : {}),
  });
}
