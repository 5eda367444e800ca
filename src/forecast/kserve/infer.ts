import { z } from 'zod';
import type { Caller } from '../../http/auth/caller.js';
import { AdderError } from '../../platform/errors.js';
import { numberColumn } from '../../platform/numbers.js';
import { RequestError } from '../../platform/request-error.js';
import type { ForecastService } from '../rest/forecast-service.js';
import { jsonNumbers } from '../rest/levels.js';
import { quantile } from '../rest/series-input.js';
import { chooseSeason } from '../series/choose-season.js';
import { parseFrequency } from '../time/frequency.js';
import { DATATYPES, encodeTensor, withBinaryInputs } from './tensors.js';

/** Tensors of every model; -1 is any size. */
export const INPUTS = [{ name: 'history', datatype: 'FP64', shape: [-1, -1] }];
export const OUTPUTS = [
  { name: 'quantiles', datatype: 'FP64', shape: [-1, -1, -1] },
  { name: 'levels', datatype: 'FP64', shape: [-1] },
];

const tensor = z.object({
  name: z.string().max(64),
  shape: z.array(z.int().min(1)).min(1).max(2),
  datatype: z.enum(DATATYPES),
  data: numberColumn(
    'row-major, flat; null is a missing value. Absent where the values come as bytes behind the JSON (parameters.binary_data_size)',
  ),
  parameters: z.object({ binary_data_size: z.int().min(0).optional() }).optional(),
});

const fields = z.object({
  id: z.string().max(256).optional(),
  inputs: z.array(tensor).min(1).max(8),
  outputs: z
    .array(
      z.object({
        name: z.string().max(64),
        parameters: z.object({ binary_data: z.boolean().optional() }).optional(),
      }),
    )
    .max(8)
    .optional(),
  parameters: z
    .object({
      horizon: z.int().min(1).max(100_000).default(24),
      quantiles: z.array(quantile).min(1).max(100).default([0.1, 0.5, 0.9]),
      frequency: z.string().max(32).optional(),
      season: z.int().min(1).max(100_000).optional(),
      binary_data_output: z.boolean().default(false),
    })
    .prefault({}),
});

export const inferRequest = z.preprocess(withBinaryInputs, fields).meta({ id: 'KserveInfer' });

/**
 * Runs one inference request: `history` of shape [length] or [rows, length] to `quantiles` of shape [rows, levels, horizon].
 * Returns the JSON of the answer and the tensors that the client wants as bytes behind it.
 */
export async function infer(
  service: ForecastService,
  caller: Caller,
  model: string,
  body: z.output<typeof inferRequest>,
  signal: AbortSignal,
) {
  const { horizon, frequency, season } = body.parameters;
  const history = body.inputs.find(({ name }) => name === 'history');
  if (!history || body.inputs.length > 1) throw refuse('there is one input tensor, and it is named history', 'inputs');
  const length = history.shape.at(-1)!;
  const rows = history.shape.length === 2 ? history.shape[0]! : 1;
  if (rows * length !== history.data.length) {
    throw refuse(
      `the shape [${history.shape}] needs ${rows * length} values, data has ${history.data.length}`,
      'inputs[0].data',
    );
  }
  const { limits } = caller;
  if (
    rows > limits.seriesPerRequest ||
    rows * (length + horizon) > limits.pointsPerRequest ||
    horizon > limits.horizon
  ) {
    throw refuse('this is more than one request may hold', 'inputs[0].shape');
  }
  const wanted = body.outputs?.map(({ name }) => name);
  const unknown = wanted?.find((name) => !OUTPUTS.some((output) => output.name === name));
  if (unknown !== undefined) throw refuse(`there is no output ${JSON.stringify(unknown)}`, 'outputs');
  const parsed = frequency === undefined ? undefined : frequencyOf(frequency);
  const quantiles = [...new Set(body.parameters.quantiles)].sort((a, b) => a - b);
  const windows = Array.from({ length: rows }, (_, row) => {
    const values = history.data.subarray(row * length, (row + 1) * length);
    if (values.every(Number.isNaN))
      throw refuse(`row ${row} has no value that is not missing`, `inputs[0].data[${row * length}]`);
    return { history: values, season: chooseSeason(values, parsed, season).season, frequency };
  });
  const forecasts = await service.forecast(windows, { horizon, quantiles, owner: caller.owner, model, signal });
  const values = new Float64Array(rows * quantiles.length * horizon);
  forecasts.forEach((forecast, row) => {
    forecast.quantiles.forEach((path, level) => {
      values.set(path, (row * quantiles.length + level) * horizon);
    });
  });
  const tensors = [
    { name: 'quantiles', shape: [rows, quantiles.length, horizon], values },
    { name: 'levels', shape: [quantiles.length], values: Float64Array.from(quantiles) },
  ].filter(({ name }) => !wanted?.length || wanted.includes(name));
  const binary = (name: string) =>
    body.outputs?.find((output) => output.name === name)?.parameters?.binary_data ?? body.parameters.binary_data_output;
  const tails: Buffer[] = [];
  const outputs = tensors.map(({ name, shape, values }) => {
    const head = { name, datatype: 'FP64', shape };
    if (!binary(name)) return { ...head, data: jsonNumbers(values) };
    const tail = encodeTensor(values);
    tails.push(tail);
    return { ...head, parameters: { binary_data_size: tail.byteLength } };
  });
  const id = body.id === undefined ? {} : { id: body.id };
  return { json: { model_name: model, model_version: '1', ...id, outputs }, tails };
}

function frequencyOf(text: string) {
  try {
    return parseFrequency(text);
  } catch (error) {
    throw error instanceof AdderError ? error.at({ field: 'parameters.frequency' }) : error;
  }
}

const refuse = (message: string, field: string) =>
  new RequestError({ status: 400, code: 'INVALID_TENSOR', message, where: { field }, fix: 'see GET /v2/models/MODEL' });
