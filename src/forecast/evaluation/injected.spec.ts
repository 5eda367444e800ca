import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Random } from '../training/random.js';
import type { DatasetSeries } from './dataset.js';
import { inject, injectedAnomalies, KINDS } from './injected.js';

const carrier = (id: string, length = 2000): DatasetSeries => {
  const random = new Random(5);
  const values = Float64Array.from(
    { length },
    (_, i) => 100 + 10 * Math.sin((2 * Math.PI * i) / 24) + 2 * random.normal(),
  );
  return { id, frequency: 'H', season: 24, values };
};

describe('injected anomalies', () => {
  it('are of every kind, lie where they are said to lie, and leave the rest as it was', () => {
    const seen = new Set<string>();
    const counts = new Set<number>();
    let habits = 0;
    for (let seed = 0; seed < 100; seed++) {
      const series = carrier('a');
      const before = series.values.slice();
      const { values, anomalies, kinds, habit } = inject(series, new Random(seed))!;
      expect(series.values).toEqual(before);
      expect(kinds).toHaveLength(anomalies.length);
      counts.add(anomalies.length);
      anomalies.forEach(([from, to], k) => {
        seen.add(kinds[k]!);
        expect(from).toBeGreaterThanOrEqual(400);
        expect(to - from).toBeGreaterThanOrEqual(99);
        expect(to).toBeLessThan(k + 1 < anomalies.length ? anomalies[k + 1]![0] : 2000);
        const changed = values.subarray(from, to + 1).map((v, i) => Math.abs(v - before[from + i]!));
        expect(Math.max(...changed)).toBeGreaterThan(3);
      });
      // A shift stays; before it, and where there is none, nothing differs outside of the windows.
      const shift = kinds.indexOf('shift');
      const end = shift < 0 ? values.length : anomalies[shift]![0];
      let differ = 0;
      for (let t = 0; t < end; t++) {
        if (values[t] !== before[t] && !anomalies.some(([a, b]) => t >= a && t <= b)) differ++;
      }
      habits += habit > 0 ? 1 : 0;
      if (habit === 0) expect(differ).toBe(0);
      else if (shift < 0) expect(differ).toBeGreaterThan(0);
      expect(differ / end).toBeLessThan(1 / 15);
    }
    expect(habits / 100).toBeCloseTo(1 / 3, 1);
    expect([...seen].sort()).toEqual([...KINDS].sort());
    expect([...counts].sort()).toEqual([0, 1, 2, 3]);
  });

  it('are the same for the same seed, and not put into what has no spread or many gaps', () => {
    const [a, b, c] = [3, 3, 4].map((seed) => inject(carrier('a'), new Random(seed))!);
    expect(a).toEqual(b);
    expect(a!.values).not.toEqual(c!.values);
    const flat = { ...carrier('flat'), values: new Float64Array(2000).fill(4) };
    expect(inject(flat, new Random(1))).toBeUndefined();
    const holes = carrier('holes');
    holes.values.fill(Number.NaN, 0, 300);
    expect(inject(holes, new Random(1))).toBeUndefined();
  });

  it('leave counts at or above zero', () => {
    for (let seed = 0; seed < 30; seed++) {
      const counts = carrier('counts');
      counts.values.forEach((v, i) => {
        counts.values[i] = Math.max(0, v - 95);
      });
      expect(Math.min(...inject(counts, new Random(seed))!.values)).toBeGreaterThanOrEqual(0);
    }
  });

  it('come from the long series of the training folder, four a dataset', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'adder-injected-'));
    try {
      await mkdir(join(dir, 'train'));
      const line = ({ id, values }: DatasetSeries) =>
        JSON.stringify({ id, freq: 'H', target: Array.from(values), seasonality: 24 });
      const many = Array.from({ length: 6 }, (_, k) => line(carrier(`s${k}`, 1600)));
      await writeFile(join(dir, 'train', 'many.ndjson'), `${many.join('\n')}\n`);
      await writeFile(join(dir, 'train', 'one.ndjson'), `${line(carrier('long', 4000))}\n${line(carrier('x', 900))}\n`);
      const set = await injectedAnomalies(dir, 1);
      expect(set.map(({ id }) => id)).toEqual(['many/s0', 'many/s1', 'many/s3', 'many/s4', 'one/long']);
      expect(set.map(({ values }) => values.length)).toEqual([1600, 1600, 1600, 1600, 3000]);
      expect(await injectedAnomalies(dir, 1)).toEqual(set);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
