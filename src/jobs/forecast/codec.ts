import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';
import { AdderError, type AdderErrorFields } from '../../platform/errors.js';
import { decodeColumns, encodeColumns } from '../../store/columns.js';

/** Forecast requests as bytes: one column for all histories, one for all levels, and the small fields of each request. */
export function encodeRequests(requests: readonly ForecastRequest[]): Buffer {
  const frequencies = [...new Set(requests.map(({ frequency }) => frequency))];
  const place = new Map(frequencies.map((frequency, i) => [frequency, i]));
  return encodeColumns({
    history: joined(requests.map(({ history }) => history)),
    lengths: Uint32Array.from(requests, ({ history }) => history.length),
    horizons: Uint32Array.from(requests, ({ horizon }) => horizon),
    seasons: Float64Array.from(requests, ({ season }) => season),
    levels: joined(requests.map(({ quantiles }) => quantiles)),
    levelCounts: Uint32Array.from(requests, ({ quantiles }) => quantiles.length),
    frequency: Uint32Array.from(requests, ({ frequency }) => place.get(frequency)!),
    // null stands for an unknown frequency.
    frequencies: new TextEncoder().encode(JSON.stringify(frequencies.map((frequency) => frequency ?? null))),
  });
}

/** The requests of `encodeRequests`, as views of its bytes. */
export function decodeRequests(bytes: Uint8Array): ForecastRequest[] {
  const columns = decodeColumns(bytes);
  const history = columns.history as Float64Array;
  const frequencies = JSON.parse(new TextDecoder().decode(columns.frequencies as Uint8Array)) as (string | null)[];
  let at = 0;
  let level = 0;
  return Array.from(columns.lengths!, (length, i) => {
    const count = columns.levelCounts![i]!;
    const request: ForecastRequest = {
      history: history.subarray(at, at + length),
      horizon: columns.horizons![i]!,
      season: columns.seasons![i]!,
      frequency: frequencies[columns.frequency![i]!] ?? undefined,
      quantiles: [...columns.levels!.subarray(level, level + count)],
    };
    at += length;
    level += count;
    return request;
  });
}

/** What became of one request of a job. */
export type Answer = { result: ForecastResult } | { error: AdderError };

/**
 * Answers as bytes: for each result its quantiles one after another, then its mean where it has one; errors as JSON, so that
 * a request at fault fails alone.
 */
export function encodeAnswers(answers: readonly Answer[]): Buffer {
  const results = answers.map((answer) => ('result' in answer ? answer.result : { quantiles: [], mean: undefined }));
  const errors = answers.flatMap((answer, i) => ('error' in answer ? [[i, answer.error.toJSON()]] : []));
  return encodeColumns({
    values: joined(results.flatMap(({ quantiles, mean }) => (mean ? [...quantiles, mean] : quantiles))),
    horizons: Uint32Array.from(results, ({ quantiles, mean }) => (quantiles[0] ?? mean)?.length ?? 0),
    levelCounts: Uint32Array.from(results, ({ quantiles }) => quantiles.length),
    hasMean: Uint8Array.from(results, ({ mean }) => (mean ? 1 : 0)),
    errors: new TextEncoder().encode(JSON.stringify(errors)),
  });
}

/** The answers of `encodeAnswers`; results are views of its bytes. */
export function decodeAnswers(bytes: Uint8Array): Answer[] {
  const { values, horizons, levelCounts, hasMean, errors } = decodeColumns(bytes);
  const failed = new Map(JSON.parse(new TextDecoder().decode(errors as Uint8Array)) as [number, AdderErrorFields][]);
  let at = 0;
  const next = (length: number) => {
    at += length;
    return values!.subarray(at - length, at) as Float64Array;
  };
  return Array.from(horizons!, (horizon, i): Answer => {
    const error = failed.get(i);
    if (error) return { error: new AdderError(error) };
    const quantiles = Array.from({ length: levelCounts![i]! }, () => next(horizon));
    return { result: { quantiles, ...(hasMean![i] ? { mean: next(horizon) } : {}) } };
  });
}

function joined(parts: readonly ArrayLike<number>[]): Float64Array {
  const out = new Float64Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
