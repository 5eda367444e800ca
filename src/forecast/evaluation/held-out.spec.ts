import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readCorpus } from '../training/corpus.js';
import { highestCorrelations, leaveOutTwins, readHeldOut } from './held-out.js';

/** Steps without a pattern, the same for the same key. */
const walk = (length: number, key: number) => {
  let state = key * 2_654_435_761 + 12_345;
  let at = 100;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    at += state / 2 ** 32 - 0.5;
    return at;
  });
};

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'adder-held-out-'));
  mkdirSync(join(dir, 'train'));
  const write = (name: string, series: object[]) =>
    writeFileSync(join(dir, 'train', `${name}.ndjson.gz`), gzipSync(series.map((s) => JSON.stringify(s)).join('\n')));
  // Series 8 and 28 are held out once `s0` is left out; the twin of series 8 is series 3, in other units.
  const monthly = Array.from({ length: 45 }, (_, k) => ({
    id: `s${k}`,
    freq: 'M',
    seasonality: 12,
    target: walk(120 + k, k),
  }));
  monthly[3]!.target = monthly[8]!.target.map((v) => 7 - 3 * v);
  write('monthly', monthly);
  write('few', [{ id: 'a', freq: 'M', seasonality: 12, target: walk(150, 99) }]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('held-out windows', () => {
  it('come from the series that training holds out', async () => {
    const exclude = ['monthly/s0'];
    const corpus = readCorpus(join(dir, 'train'), exclude);
    const lengths = [...corpus.length].filter((_, i) => corpus.validation[i] === 1);
    const { tasks, seen } = await readHeldOut(dir, exclude);
    const held = new Set(tasks.flatMap(({ windows }) => windows.map(({ series }) => series.values.length)));
    expect([...held].sort()).toEqual(lengths.sort());
    expect(seen.get('M')!.length).toBe(corpus.length.length - lengths.length);
    expect(tasks.map(({ name, windows }) => [name, windows.length])).toEqual([['monthly/M/18', 3 + 4]]);
    for (const { history, actual, series } of tasks[0]!.windows) {
      expect(history.length + actual.length).toBeLessThanOrEqual(series.values.length);
      expect(actual.length).toBe(18);
    }
  });

  it('are left out where training has a twin of them, in whatever units and upside down', async () => {
    const clean = leaveOutTwins(await readHeldOut(dir, ['monthly/s0']));
    expect(new Set(clean.flatMap(({ windows }) => windows.map(({ series }) => series.id)))).toEqual(new Set(['s28']));
  });

  it('measure likeness by the correlation of differences', () => {
    const differences = (x: number[]) => x.slice(1).map((v, i) => v - x[i]!);
    const x = [3, 1, 4, 1, 5, 9, 2, 6];
    const d = differences(x);
    const mean = d.reduce((a, b) => a + b, 0) / d.length;
    const norm = Math.hypot(...d.map((v) => v - mean));
    const pattern = Float32Array.from(d, (v) => (v - mean) / norm);
    const [same] = highestCorrelations([pattern], [Float64Array.of(0, 0, ...x.map((v) => -2 * v + 1), 5)]);
    expect(same).toBeCloseTo(1, 5);
    const [other] = highestCorrelations([pattern], [Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)]);
    expect(other).toBe(0);
  });
});
