/**
 * A test set of anomalies whose place is known: real series of the training corpora with anomalies put into them. It is what
 * detection rules are chosen by, since the labelled benchmarks only ever judge.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../training/random.js';
import { type DatasetSeries, type LabelledSeries, readDataset } from './dataset.js';

/** Series of one dataset, and values of one series. */
const PER_DATASET = 4;
const SHORTEST = 1500;
const LONGEST = 3000;
/** Share of a series that stays as it is at its beginning, and between the onsets of two events. */
const QUIET = 0.2;
const APART = 0.15;
/** A window is this share of its series, from the onset on; longer where the event lasts longer. */
const WINDOW = 0.05;

/** Share of the series that spike by habit. */
const HABITUAL = 1 / 3;
/** Sizes, in standard deviations of the series. */
const SMALLEST = 0.7;
const LARGEST = 7;

/** The set that is reported; the rule was chosen on others. */
export const REPORTED_SEED = 5;

export const KINDS = ['spike', 'shift', 'bump', 'drift', 'noise', 'flat', 'drop', 'season'] as const;
export type Kind = (typeof KINDS)[number];

export interface InjectedSeries extends LabelledSeries {
  /** Kinds in the order of `anomalies`. */
  kinds: Kind[];
  /** Usual size of the spikes that it has all along; 0 for none. */
  habit: number;
}

/**
 * Pieces of all training series that are long enough, at most four a dataset, with none to three events each. The same seed
 * gives the same set.
 */
export async function injectedAnomalies(dataDir: string, seed: number): Promise<InjectedSeries[]> {
  const out: InjectedSeries[] = [];
  const names = readdirSync(join(dataDir, 'train')).flatMap((file) => /^(.+)\.ndjson(\.gz)?$/.exec(file)?.[1] ?? []);
  for (const name of [...new Set(names)].sort()) {
    const long = (await readDataset(dataDir, 'train', name)).filter(({ values }) => values.length >= SHORTEST);
    const every = Math.max(1, long.length / PER_DATASET);
    for (let k = 0; k < Math.min(PER_DATASET, long.length); k++) {
      const random = new Random(seed, out.length);
      const injected = inject(piece(long[Math.floor(k * every)]!, random), random);
      if (injected) out.push({ ...injected, id: `${name}/${injected.id}` });
    }
  }
  return out;
}

function piece(series: DatasetSeries, random: Random): DatasetSeries {
  const { values } = series;
  const from = random.integer(Math.max(1, values.length - LONGEST + 1));
  return { ...series, values: values.slice(from, from + LONGEST) };
}

/** Puts none to three events into a series; undefined if it is constant or has many gaps. */
export function inject(series: DatasetSeries, random: Random): InjectedSeries | undefined {
  const { length } = series.values;
  const known = series.values.filter(Number.isFinite).sort();
  const spread = spreadOf(known);
  if (known.length < 0.9 * length || !(spread > 0)) return undefined;
  const values = series.values.slice();
  const lowest = known[0]! >= 0 ? 0 : Number.NEGATIVE_INFINITY;
  const habit = random.chance(HABITUAL) ? addHabit(values, { spread, lowest }, random) : 0;
  const anomalies: [number, number][] = [];
  const kinds: Kind[] = [];
  const count = random.integer(4);
  // Onsets: as many of equal stretches as there are events, a random place in each.
  const room = Math.floor(length * (1 - QUIET - WINDOW));
  for (let k = 0; k < count; k++) {
    const stretch = Math.floor(room / count);
    const free = Math.max(1, stretch - Math.floor(APART * length));
    const onset = Math.floor(QUIET * length) + k * stretch + random.integer(free);
    const kind = KINDS[random.integer(KINDS.length)]!;
    const before = values.slice();
    const end = change(values, { kind, onset, spread: spread + habit, lowest, season: series.season }, random);
    // A stuck value where nothing moves, or half a season's delay where there is none, is no anomaly.
    if (!values.some((v, t) => Math.abs(v - before[t]!) >= SMALLEST * (spread + habit))) {
      values.set(before);
      continue;
    }
    const last = Math.max(onset + Math.floor(WINDOW * length), end) - 1;
    anomalies.push([onset, Math.min(length - 1, last)]);
    kinds.push(kind);
  }
  return { ...series, values, anomalies, kinds, habit };
}

/**
 * Spikes of one direction at random times all along, of sizes that vary by a third: what a series has always done is no
 * anomaly. Returns their usual size.
 */
function addHabit(values: Float64Array, { spread, lowest }: Pick<Event, 'spread' | 'lowest'>, random: Random): number {
  const size = spread * random.logUniform(SMALLEST, LARGEST);
  const sign = random.chance(0.8) ? 1 : -1;
  const rate = random.logUniform(1 / 300, 1 / 30);
  for (let t = 0; t < values.length; t++) {
    if (!random.chance(rate)) continue;
    values[t] = Math.max(lowest, values[t]! + sign * size * Math.exp(random.normal() / 3));
  }
  return size;
}

/** Standard deviation by the quartiles, or the plain one where half of the values are equal. */
function spreadOf(sorted: Float64Array): number {
  const quartile = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  const robust = (quartile(0.75) - quartile(0.25)) / 1.349;
  if (robust > 0) return robust;
  const mean = sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return Math.sqrt(sorted.reduce((sum, v) => sum + (v - mean) ** 2, 0) / sorted.length);
}

interface Event {
  kind: Kind;
  onset: number;
  spread: number;
  lowest: number;
  season: number;
}

/** Changes `values` from the onset on; returns the place behind the last changed value, or the onset of what is for good. */
function change(values: Float64Array, { kind, onset, spread, lowest, season }: Event, random: Random): number {
  const { length } = values;
  const size = (random.chance(0.5) ? 1 : -1) * spread * random.logUniform(SMALLEST, LARGEST);
  const lasting = Math.round(length * random.logUniform(0.005, 0.04));
  const within = (steps: number) => Math.min(length, onset + Math.max(1, steps));
  const add = (end: number, by: (i: number) => number) => {
    for (let t = onset; t < end; t++) values[t] = Math.max(lowest, values[t]! + by(t - onset));
    return end;
  };
  switch (kind) {
    case 'spike':
      return add(within(1 + random.integer(3)), () => size);
    case 'shift':
      add(length, () => size);
      return onset;
    case 'bump':
      return add(within(lasting), () => size);
    case 'drift':
      return add(within(2 * lasting), (i) => (size * i) / (2 * lasting));
    case 'noise':
      return add(within(lasting), () => (size / 2) * random.normal());
    case 'flat': {
      const end = within(Math.max(lasting, Math.min(season, Math.floor(0.1 * length)) / 2));
      values.fill(values[onset - 1]!, onset, end);
      return end;
    }
    case 'drop': {
      const end = within(lasting);
      const floor = values.reduce((least, v) => (v < least ? v : least), values[onset]!);
      values.fill(floor, onset, end);
      return end;
    }
    case 'season': {
      // What was there a while before, half a season out of step; where there is no season, backwards.
      const span = Math.max(lasting, Math.min(season, Math.floor(0.05 * length)));
      const back = season > 1 ? span + Math.round(season / 2) : 0;
      const end = within(span);
      const before = values.slice();
      for (let t = onset; t < end; t++) {
        const from = back > 0 ? t - back : end - 1 - (t - onset);
        if (from >= 0) values[t] = before[from]!;
      }
      return end;
    }
  }
}
