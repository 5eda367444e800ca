/** From series whose points have changed to their outputs: one batch of steps, one batch of forecasts. */
import type { StreamBatch } from '../forecast/model/stream-batch.js';
import { normalQuantile } from '../forecast/quantiles.js';
import type { LiveOutput, PointScore } from './feed.js';
import type { LiveSeries } from './live-series.js';
import { advanceAll } from './loader.js';
import { asStored } from './output-codec.js';
import type { Standing } from './standing.js';

/** Scores beyond this say nothing more. */
const MAX_SCORE = 1000;

const Z90 = normalQuantile(0.9);

/**
 * Takes new points into the states of the series and makes an output for each whose forecast is demanded.
 * If it throws, the states given are lost and must be read again.
 */
export async function forecastAll(batch: StreamBatch, series: readonly LiveSeries[]): Promise<LiveOutput[]> {
  const live = series.filter(({ core }) => core);
  await advanceAll(
    batch,
    live.map(({ core }) => core!),
  );
  for (const one of live) notice(one);
  const due = live.filter(({ horizon, core }) => horizon > 0 && core!.position > 0);
  const outputs: LiveOutput[] = [];
  for (const horizon of new Set(due.map((one) => one.horizon))) {
    const together = due.filter((one) => one.horizon === horizon);
    const { levels } = batch.model.config;
    const times = new Float64Array(together.length * horizon);
    const quantiles = await batch.forecast(
      together.map(({ core }) => core!.state),
      horizon,
      levels,
    );
    together.forEach((one, i) => {
      // Outputs do not live long, so they share the arrays of their batch.
      const mine = (row: Float64Array) => row.subarray(i * horizon, (i + 1) * horizon);
      outputs.push(outputOf(one, batch.model.id, levels, mine(times), quantiles.map(mine)));
    });
  }
  return outputs;
}

/** Remembers the latest value, and scores the values that no output has told yet against the standing forecast. */
function notice(series: LiveSeries): void {
  const core = series.core!;
  const latest = core.latest;
  if (latest !== undefined) series.last = { at: core.timeOf(latest), value: core.valueAt(latest) };
  const standing = series.output;
  if (!standing) return;
  const scores: PointScore[] = [];
  for (let step = core.kept; step < core.position; step++) {
    const time = core.timeOf(step);
    const value = core.valueAt(step);
    if (time <= series.scoredAt || Number.isNaN(value)) continue;
    const index = standing.times.indexOf(time);
    if (index >= 0) scores.push(scoreOf(time, value, standing, index));
  }
  if (core.position > 0) series.scoredAt = Math.max(series.scoredAt, core.timeOf(core.position - 1));
  if (scores.length > 0) series.scores = [...series.scores, ...scores].slice(-core.base.shape.patch);
}

function scoreOf(time: number, value: number, { times, quantiles }: Standing, index: number): PointScore {
  const low = quantiles[index]!;
  const expected = quantiles[times.length + index]!;
  const high = quantiles[2 * times.length + index]!;
  const distance = value - expected;
  const spread = (distance >= 0 ? high - expected : expected - low) / Z90;
  // A forecast without spread (a constant history) is right or wrong, within rounding.
  const slack = 1e-9 * Math.max(Math.abs(value), Math.abs(expected));
  const score = Math.abs(distance) <= slack ? 0 : distance / spread;
  return { time, value, expected, low, high, score: Math.max(-MAX_SCORE, Math.min(MAX_SCORE, score)) };
}

function outputOf(
  series: LiveSeries,
  model: string,
  levels: readonly number[],
  times: Float64Array,
  quantiles: Float64Array[],
): LiveOutput {
  const core = series.core!;
  const { position } = core;
  for (let i = 0; i < times.length; i++) times[i] = core.timeOf(position + i);
  const value = series.last?.value ?? Number.NaN;
  const output = {
    owner: series.owner,
    series: series.name,
    seriesId: series.id,
    sequence: (series.output?.sequence ?? 0) + 1,
    position,
    at: series.last?.at ?? core.timeOf(position - 1),
    value,
    frequency: core.grid.plan.frequency,
    times,
    levels,
    // As they are stored, so that whoever takes over scores by the same numbers.
    quantiles: quantiles.map((row) => asStored(row, value)),
    scores: series.scores,
    model,
  };
  series.scores = [];
  return output;
}
