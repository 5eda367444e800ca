import { z } from 'zod';
import { mixedColumn, numberColumn } from '../../platform/numbers.js';

/**
 * The requests of the Nixtla protocol (TimeGPT API, client 0.8.0). Clients leave out what they do not set or send null for
 * it (nixtlar does the first, the Python client the second), so every optional field is both. Fields that we do not know
 * are let through, because newer clients send more.
 */

/** Integer frequencies arrive as "MS"; anything pandas or polars writes is a string. */
const freq = z.string().min(1).max(32);
const count = z.int().min(1).max(1_000_000);

const sizes = z
  .any()
  .meta({ type: 'array', items: { type: 'integer', minimum: 1 }, minItems: 1, description: 'length of each series' })
  .transform((input: unknown, context): number[] => {
    // A thousand sizes and more arrive packed; see http/body/pack.ts.
    const values =
      Array.isArray(input) || ArrayBuffer.isView(input) ? Array.from(input as ArrayLike<unknown>) : undefined;
    if (!values || values.length === 0) {
      context.addIssue({ code: 'custom', message: 'expected the length of each series' });
      return z.NEVER;
    }
    const wrong = values.findIndex((value) => !Number.isInteger(value) || (value as number) < 1);
    if (wrong >= 0) {
      context.addIssue({ code: 'custom', message: 'expected a whole number from 1', path: [wrong] });
      return z.NEVER;
    }
    return values as number[];
  });

const features = z.array(mixedColumn('one feature, all series after each other')).max(256);

const seriesFields = {
  y: numberColumn('all series after each other; null is a missing value'),
  sizes,
  X: features.nullish(),
  start_datetime: z.array(z.string().max(64)).nullish(),
  categorical_exog: z.array(z.int().min(0)).nullish(),
};

function checkSizes({ y, sizes }: { y: Float64Array; sizes: number[] }, context: z.RefinementCtx): void {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total === y.length) return;
  context.addIssue({ code: 'custom', message: `sizes add up to ${total}, y has ${y.length} values`, path: ['sizes'] });
}

const series = z.object(seriesFields).superRefine(checkSizes);
const seriesWithFuture = z.object({ ...seriesFields, X_future: features.nullish() }).superRefine(checkSizes);

const modelId = z
  .string()
  .regex(/^[a-zA-Z0-9\-_]{1,36}$/, { error: 'expected 1 to 36 letters, digits, - and _' })
  .nullish();

const fineTuning = {
  model: z.string().max(64).nullish(),
  finetune_steps: z.int().min(0).max(5000).nullish(),
  finetune_depth: z.int().min(1).max(5).nullish(),
  finetune_loss: z.enum(['default', 'mae', 'mse', 'rmse', 'mape', 'smape', 'poisson']).nullish(),
  finetuned_model_id: modelId,
  clean_ex_first: z.boolean().nullish(),
  multivariate: z.boolean().nullish(),
  model_parameters: z.record(z.string(), z.unknown()).nullish(),
};

/** quantiles arrive as levels, so 0 stands for the median, and levels repeat. */
const level = z.number().min(0).lt(100);
const levels = z.array(level).max(200).nullish();

const jobOptions = {
  job_options: z.object({ timeout_seconds: z.number().positive().max(604_800).nullish() }).nullish(),
};

export const forecastInput = z
  .object({
    series: seriesWithFuture,
    freq,
    h: count,
    level: levels,
    feature_contributions: z.boolean().nullish(),
    ...fineTuning,
    ...jobOptions,
  })
  .meta({ id: 'NixtlaForecast' });
export type ForecastInput = z.output<typeof forecastInput>;

export const crossValidationInput = z
  .object({
    series,
    freq,
    h: count,
    n_windows: count.nullish(),
    step_size: count.nullish(),
    level: levels,
    hist_exog: z.array(z.int().min(0)).nullish(),
    refit: z.boolean().nullish(),
    full_history: z.boolean().nullish(),
    feature_contributions: z.boolean().nullish(),
    ...fineTuning,
    ...jobOptions,
  })
  .meta({ id: 'NixtlaCrossValidation' });
export type CrossValidationInput = z.output<typeof crossValidationInput>;

export const finetuneInput = z
  .object({ series, freq, output_model_id: modelId, ...fineTuning, ...jobOptions })
  .meta({ id: 'NixtlaFinetune' });
export type FinetuneInput = z.output<typeof finetuneInput>;

export const historicInput = z
  .object({ series, freq, level: levels, feature_contributions: z.boolean().nullish(), ...fineTuning, ...jobOptions })
  .meta({ id: 'NixtlaHistoricForecast' });
export type HistoricInput = z.output<typeof historicInput>;

/** The Python client sends one level, nixtlar a list of one. */
const oneLevel = z.union([level, z.array(level).length(1)]).nullish();

export const anomalyInput = z
  .object({ series, freq, level: oneLevel, ...fineTuning, ...jobOptions })
  .meta({ id: 'NixtlaAnomalyDetection' });
export type AnomalyInput = z.output<typeof anomalyInput>;

export const onlineAnomalyInput = z
  .object({
    series,
    freq,
    h: count,
    detection_size: count,
    threshold_method: z.enum(['univariate', 'multivariate']).nullish(),
    step_size: count.nullish(),
    hist_exog: z.array(z.int().min(0)).nullish(),
    refit: z.boolean().nullish(),
    level: oneLevel,
    ...fineTuning,
    ...jobOptions,
  })
  .meta({ id: 'NixtlaOnlineAnomalyDetection' });
export type OnlineAnomalyInput = z.output<typeof onlineAnomalyInput>;
