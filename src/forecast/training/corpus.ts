/**
 * The training corpus: all series of a folder of `*.ndjson.gz` files in one flat array of shared memory.
 *
 * One line is one series: {target: (number | null)[], test?: the same, freq: string, seasonality: number, …}; the
 * whole series is target followed by test. Values are stored as float32 after removing each series' mean and scale in
 * float64, which no feature can see (they are invariant under x → a·x + b) and which keeps 1e9 ± 1 exact enough.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { AdderError } from '../../platform/errors.js';
import { frequencyClass } from '../model/frequency.js';

/** Columns over series; everything lies in SharedArrayBuffers, so a corpus can be sent to threads without a copy. */
export interface Corpus {
  /** Names of the files, without endings. */
  readonly datasets: string[];
  /** All values; NaN is missing. */
  readonly values: Float32Array;
  /** Index of a series' first value in `values`. */
  readonly start: Uint32Array;
  readonly length: Uint32Array;
  readonly season: Uint32Array;
  readonly frequencyClass: Uint8Array;
  /** Index into `datasets`. */
  readonly dataset: Uint16Array;
  /** 1: held out for validation, never trained on. */
  readonly validation: Uint8Array;
}

/** In datasets of at least this many series, one in twenty is held out. */
const VALIDATION_FROM = 20;
const VALIDATION_EVERY = 20;
const VALIDATION_AT = 7;

interface Line {
  id?: string;
  target: (number | null)[];
  test?: (number | null)[];
  freq?: string;
  seasonality?: number;
}

interface Series {
  values: Float32Array;
  season: number;
  frequencyClass: number;
}

/**
 * @param exclude series to leave out, as `dataset/id` or `dataset/beginning*`
 * @throws AdderError `NO_DATA` if the folder holds no series, `BAD_DATA` for a line that is none, naming file and line.
 */
export function readCorpus(folder: string, exclude: readonly string[] = []): Corpus {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.ndjson.gz'))
    .sort();
  const datasets = files.map((name) => name.slice(0, -'.ndjson.gz'.length));
  const all = files.map((name, i) => readDataset(join(folder, name), (id) => matches(exclude, `${datasets[i]}/${id}`)));
  const count = all.reduce((sum, series) => sum + series.length, 0);
  if (count === 0) {
    throw new AdderError({
      code: 'NO_DATA',
      message: 'no series in *.ndjson.gz files here',
      where: { file: folder },
      fix: 'name the folder that holds the training files',
    });
  }
  const total = all.flat().reduce((sum, series) => sum + series.values.length, 0);
  const corpus: Corpus = {
    datasets,
    values: new Float32Array(new SharedArrayBuffer(4 * total)),
    start: new Uint32Array(new SharedArrayBuffer(4 * count)),
    length: new Uint32Array(new SharedArrayBuffer(4 * count)),
    season: new Uint32Array(new SharedArrayBuffer(4 * count)),
    frequencyClass: new Uint8Array(new SharedArrayBuffer(count)),
    dataset: new Uint16Array(new SharedArrayBuffer(2 * count)),
    validation: new Uint8Array(new SharedArrayBuffer(count)),
  };
  let i = 0;
  let at = 0;
  all.forEach((series, dataset) => {
    series.forEach((one, k) => {
      corpus.values.set(one.values, at);
      corpus.start[i] = at;
      corpus.length[i] = one.values.length;
      corpus.season[i] = one.season;
      corpus.frequencyClass[i] = one.frequencyClass;
      corpus.dataset[i] = dataset;
      corpus.validation[i] = series.length >= VALIDATION_FROM && k % VALIDATION_EVERY === VALIDATION_AT ? 1 : 0;
      at += one.values.length;
      i++;
    });
  });
  return corpus;
}

function matches(patterns: readonly string[], name: string): boolean {
  return patterns.some((p) => (p.endsWith('*') ? name.startsWith(p.slice(0, -1)) : name === p));
}

function readDataset(file: string, excluded: (id: string) => boolean): Series[] {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').split('\n');
  const series: Series[] = [];
  lines.forEach((text, index) => {
    if (text.trim() === '') return;
    const bad = (message: string, cause?: unknown) =>
      new AdderError({
        code: 'BAD_DATA',
        message,
        where: { file, line: index + 1 },
        fix: 'each line is {"target": [number or null, …], "freq": "H", "seasonality": 24}',
        cause,
      });
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch (cause) {
      throw bad('this line is no JSON', cause);
    }
    if (excluded(String(line.id))) return;
    const values = [line.target, line.test ?? []].flatMap((part) => {
      if (!Array.isArray(part)) throw bad('a series needs its values as an array in "target"');
      return part.map((v) => {
        if (v !== null && typeof v !== 'number') throw bad(`a value is a number or null, not ${JSON.stringify(v)}`);
        return v ?? Number.NaN;
      });
    });
    series.push({
      values: standardised(values),
      season: Math.max(1, Math.round(line.seasonality ?? 1)),
      frequencyClass: frequencyClass(line.freq),
    });
  });
  return series;
}

/** (x − mean)/sd over the observed values; a constant series becomes zeros. */
function standardised(values: number[]): Float32Array {
  let n = 0;
  let mean = 0;
  let sum = 0;
  for (const v of values) {
    if (Number.isNaN(v)) continue;
    const delta = v - mean;
    mean += delta / ++n;
    sum += delta * (v - mean);
  }
  const scale = sum > 0 ? Math.sqrt(n / sum) : 0;
  return Float32Array.from(values, (v) => (v - mean) * scale);
}

/** Draws series: a dataset by weight, then a series in it. */
export class SeriesSampler {
  private readonly cumulative: Float64Array;
  private readonly index: Uint32Array;

  /**
   * @param weighting `long`: datasets by the root of their total length (each series counted up to 4,000 values),
   *   series by the root of their length; `short`: datasets by the root of Σ sqrt(length up to 400), series evenly
   * @param shortest series with fewer values are left out
   * @throws AdderError `NO_DATA` if nothing is left
   */
  constructor(corpus: Corpus, weighting: 'long' | 'short', shortest: number, validation: boolean) {
    const chosen: number[] = [];
    const datasetMass = new Float64Array(corpus.datasets.length);
    const seriesMass = new Float64Array(corpus.datasets.length);
    const within = (n: number) => (weighting === 'long' ? Math.sqrt(n) : 1);
    for (let i = 0; i < corpus.length.length; i++) {
      const n = corpus.length[i]!;
      if (n < shortest || (corpus.validation[i] === 1) !== validation) continue;
      chosen.push(i);
      const dataset = corpus.dataset[i]!;
      datasetMass[dataset]! += weighting === 'long' ? Math.min(n, 4000) : Math.sqrt(Math.min(n, 400));
      seriesMass[dataset]! += within(n);
    }
    if (chosen.length === 0) {
      throw new AdderError({
        code: 'NO_DATA',
        message: `no ${validation ? 'held-out' : 'training'} series has ${shortest} values`,
        fix: 'add data, or shorten the windows in the configuration',
      });
    }
    this.index = Uint32Array.from(chosen);
    this.cumulative = new Float64Array(chosen.length);
    let sum = 0;
    chosen.forEach((i, k) => {
      const dataset = corpus.dataset[i]!;
      sum += (Math.sqrt(datasetMass[dataset]!) * within(corpus.length[i]!)) / seriesMass[dataset]!;
      this.cumulative[k] = sum;
    });
  }

  /** Series for a uniform number in [0, 1). */
  pick(uniform: number): number {
    const target = uniform * this.cumulative[this.cumulative.length - 1]!;
    let low = 0;
    let high = this.cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.cumulative[middle]! > target) high = middle;
      else low = middle + 1;
    }
    return this.index[low]!;
  }
}
