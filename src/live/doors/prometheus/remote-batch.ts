import { setImmediate as turn } from 'node:timers/promises';
import { ColumnStore } from '../../../forecast/series/columns.js';
import type { SeriesFields } from '../../../store/series.js';
import { type Labels, labelMetadata, seriesName } from '../series-name.js';
import type { RemoteSeries } from './messages.js';

/** Series between two turns of the event loop. */
const SLICE = 2000;
/** Reasons that are told one by one. */
const TOLD = 10;
/** Characters of names that are remembered from one request to the next. */
const MAX_REMEMBERED = 32 * 2 ** 20;

/** What a request brought, and what of it cannot be stored. */
export class RemoteBatch {
  readonly points = new ColumnStore();
  /** Native histograms and exemplars have no place in a series of numbers. */
  histograms = 0;
  exemplars = 0;
  /** Samples of series that are refused. */
  refused = 0;
  private readonly reasons: string[] = [];
  private readonly series = new Map<string, RemoteSeries>();

  constructor(private readonly names: SeriesNameCache) {}

  /** Takes all of a request, unless it is more than `maxPoints`. Throws BadMessage. */
  async take(all: Iterable<RemoteSeries>, maxPoints: number): Promise<void> {
    let count = 0;
    for (const series of all) {
      this.add(series);
      if (this.points.length > maxPoints) return;
      if (++count % SLICE === 0) await turn();
    }
  }

  private add(series: RemoteSeries): void {
    this.histograms += series.histograms;
    this.exemplars += series.exemplars;
    if (series.times.length === 0) return;
    const problem = problemOf(series.labels);
    if (problem) {
      this.refuse(series.times.length, `series ${JSON.stringify(series.labels).slice(0, 200)}: ${problem}`);
      return;
    }
    const name = this.names.nameOf(series.labels);
    this.series.set(name, series);
    for (let i = 0; i < series.times.length; i++) {
      // A stale marker is one of many bit patterns of NaN, and a missing value.
      this.points.push(name, series.times[i]!, series.values[i]!, 0);
    }
  }

  refuse(samples: number, reason: string): void {
    this.refused += samples;
    if (this.reasons.length < TOLD && !this.reasons.includes(reason)) this.reasons.push(reason);
  }

  /** What is stored with a series that is named for the first time. */
  describe(name: string): SeriesFields {
    const series = this.series.get(name);
    if (!series) return {};
    const labels = series.labels.filter(([label]) => label !== '__name__');
    const head = { metric: series.labels.find(([label]) => label === '__name__')?.[1], ...series.metadata };
    return { metadata: labelMetadata(head, 'label.', labels) };
  }

  /** Why not all of it was written, or undefined when it was. */
  refusal(): string | undefined {
    const parts = [...this.reasons];
    if (this.refused > 0) parts.unshift(`${this.refused} samples were refused and the others written`);
    if (this.histograms > 0) parts.push(`${this.histograms} native histograms are not supported`);
    if (this.exemplars > 0) parts.push(`${this.exemplars} exemplars are not supported`);
    return parts.length === 0 ? undefined : parts.join('; ');
  }
}

function problemOf(labels: Labels): string | undefined {
  if (labels.length === 0) return 'it has no labels';
  if (labels.some(([name]) => name === '')) return 'a label has no name';
  if (new Set(labels.map(([name]) => name)).size < labels.length) return 'a label is named twice';
  return undefined;
}

/** Names of series by their labels; requests repeat them. */
export class SeriesNameCache {
  private readonly names = new Map<string, string>();
  private size = 0;

  nameOf(labels: Labels): string {
    const key = JSON.stringify(labels);
    const known = this.names.get(key);
    if (known !== undefined) return known;
    // A label without a value is the same as none.
    const rest = labels.filter(([name, value]) => name !== '__name__' && value !== '');
    const name = seriesName(labels.find(([label]) => label === '__name__')?.[1] ?? '', rest);
    if (this.size > MAX_REMEMBERED) {
      this.names.clear();
      this.size = 0;
    }
    this.names.set(key, name);
    this.size += key.length + name.length;
    return name;
  }
}
