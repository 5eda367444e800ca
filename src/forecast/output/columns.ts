import type { SeriesForecast } from '../predict.js';

/** One column of a forecast: its name and its values over the horizon. */
export interface OutputColumn {
  name: string;
  values: Float64Array;
}

/**
 * The columns of a forecast, named as in the Nixtla libraries: `MODEL` (the median), `MODEL-mean` where known, then
 * `MODEL-lo-95`, `MODEL-lo-80`, `MODEL-hi-80`, `MODEL-hi-95`.
 */
export function outputColumns(model: string, { median, mean, intervals }: SeriesForecast): OutputColumn[] {
  const wide = [...intervals].sort((a, b) => b.percent - a.percent);
  return [
    { name: model, values: median },
    ...(mean ? [{ name: `${model}-mean`, values: mean }] : []),
    ...wide.map(({ percent, low }) => ({ name: `${model}-lo-${percent}`, values: low })),
    ...wide.toReversed().map(({ percent, high }) => ({ name: `${model}-hi-${percent}`, values: high })),
  ];
}
