import { readFileSync } from 'node:fs';
import { expect } from '@jest/globals';
import type { StreamBatch } from '../../../src/forecast/model/stream-batch.js';
import type { LiveOutput } from '../../../src/live/feed.js';

/** A real monthly series that comes with the repository: starts of houses in the USA since 1959. */
export function housingStarts(): { times: number[]; values: number[] } {
  const lines = readFileSync('examples/us-housing-starts.csv', 'utf8').trim().split('\n').slice(1);
  const rows = lines.map((line) => line.split(','));
  return { times: rows.map(([ds]) => Date.parse(`${ds}T00:00:00Z`)), values: rows.map(([, y]) => Number(y)) };
}

/** The largest difference from the forecast of one whole scan, relative to the largest value of that. */
export async function differenceFromScan(
  batch: StreamBatch,
  output: LiveOutput,
  history: { values: ArrayLike<number>; season: number; frequency: string },
): Promise<number> {
  const [state] = await batch.statesOf([history]);
  const expected = await batch.forecast([state!], output.times.length, output.levels);
  const size = Math.max(...expected.map((row) => Math.max(...row.map(Math.abs))));
  let worst = 0;
  expected.forEach((row, q) => {
    row.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(output.quantiles[q]![i]! - value) / size);
    });
  });
  expect(output.position).toBe(history.values.length);
  return worst;
}
