import { nearest } from '../commands/command.js';
import { AdderError, quote } from '../platform/errors.js';
import { croston, sba } from './baselines/croston.js';
import { ets } from './baselines/ets.js';
import { LocalForecaster, type LocalMethod } from './baselines/local.js';
import { drift, naive, seasonalNaive } from './baselines/naive.js';
import { theta } from './baselines/theta.js';
import type { Forecaster } from './forecaster.js';
import type { StackPart } from './stack/stack.js';

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
  /** Parts of the inference stack; the model's own choice when absent, none of them for the bare network. */
  stack?: readonly StackPart[];
  /** Told when the choice needs a word. */
  onNotice?: (text: string) => void;
}

/** Lines for `--help`. */
export function describeModels(): string {
  const rows = [
    ['adder', 'the neural forecaster (or a folder with its weights)'],
    ...Object.entries(METHODS).map(([name, { about }]) => [name, about]),
  ];
  return rows.map(([name, about]) => `      ${name!.padEnd(15)} ${about}`).join('\n');
}

/** Whether a name stands for a statistical method. */
export function isStatistical(id: string): boolean {
  return Object.hasOwn(METHODS, id);
}

/**
 * The forecaster of a name: a statistical method, `adder` for the neural model shipped with Adder, or the name or folder
 * of other weights. Without a name it is the neural model, or Theta (and a notice) where no weights are installed. This
 * is the only place that knows what names stand for.
 */
export async function resolveForecaster(id?: string, options: ModelOptions = {}): Promise<Forecaster> {
  if (id === undefined) {
    try {
      return await loadNeural(undefined, options);
    } catch (thrown) {
      if (!(thrown instanceof AdderError && thrown.code === 'NO_MODEL')) throw thrown;
      options.onNotice?.('no neural weights are installed; forecasting with theta');
      return resolveForecaster('theta', options);
    }
  }
  const known = Object.hasOwn(METHODS, id) ? METHODS[id] : undefined;
  if (known) return new LocalForecaster(id, known.method);
  try {
    return await loadNeural(id === 'adder' ? undefined : id, options);
  } catch (thrown) {
    if (!(thrown instanceof AdderError && thrown.code === 'NO_MODEL') || id === 'adder') throw thrown;
    const near = nearest(id, ['adder', ...Object.keys(METHODS)]);
    throw new AdderError({
      code: 'UNKNOWN_MODEL',
      message: `no model ${quote(id)}`,
      where: { field: '--model' },
      fix: near ? `did you mean ${near}?` : `use adder, ${Object.keys(METHODS).join(', ')}, or a folder with weights`,
    });
  }
}

/** Loaded on demand: the statistical methods need no engine. */
async function loadNeural(model: string | undefined, { backend, stack }: ModelOptions): Promise<Forecaster> {
  const { DEFAULT_MODEL, loadForecaster, modelFolder } = await import('./model/load.js');
  const { readStackSettings } = await import('./stack/settings.js');
  const { StackedForecaster } = await import('./stack/stack.js');
  const bare = await loadForecaster({ ...(model ? { model } : {}), ...(backend ? { backend } : {}) });
  const { parts, factors } = readStackSettings(modelFolder(model ?? DEFAULT_MODEL));
  return new StackedForecaster(bare, stack ?? parts, factors);
}
