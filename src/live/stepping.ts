import type { StreamBatch } from '../forecast/model/stream-batch.js';
import type { LiveOutput } from './feed.js';
import { forecastAll } from './forecasting.js';
import type { LiveSeries } from './live-series.js';

/**
 * Steps series as one batch; those that were in a batch that failed come in ever smaller ones, call by call, until the one at
 * fault is alone.
 *
 * @param onFailure told of each batch that failed: the states of its series are lost
 */
export async function stepAll(
  batch: StreamBatch,
  due: readonly LiveSeries[],
  onFailure: (group: readonly LiveSeries[], error: unknown) => void,
): Promise<LiveOutput[]> {
  const outputs: LiveOutput[] = [];
  for (const together of new Set(due.map((series) => series.together))) {
    const some = due.filter((series) => series.together === together);
    for (let from = 0; from < some.length; from += together) {
      const group = some.slice(from, from + together);
      try {
        outputs.push(...(await forecastAll(batch, group)));
        for (const series of group) series.together = Number.POSITIVE_INFINITY;
      } catch (error) {
        for (const series of group) series.together = Math.max(1, group.length >> 1);
        onFailure(group, error);
      }
    }
  }
  return outputs;
}
