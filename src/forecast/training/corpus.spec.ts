import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Corpus, readCorpus, SeriesSampler } from './corpus.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'adder-corpus-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, lines: unknown[]): string {
  const file = join(folder, `${name}.ndjson.gz`);
  writeFileSync(file, gzipSync(`${lines.map((l) => (typeof l === 'string' ? l : JSON.stringify(l))).join('\n')}\n`));
  return file;
}

describe('readCorpus', () => {
  it('joins target and test, keeps missing values, and standardises exactly even on a high level', () => {
    write('a', [
      { target: [1e9 + 1, null, 1e9 - 1], test: [1e9 + 1, 1e9 - 1], freq: '15min', seasonality: 96 },
      { target: [7, 7, 7], freq: 'other' },
    ]);
    const corpus = readCorpus(folder);
    expect(corpus.datasets).toEqual(['a']);
    expect([...corpus.values.slice(0, 5)]).toEqual([1, Number.NaN, -1, 1, -1]);
    expect([...corpus.values.slice(5)]).toEqual([0, 0, 0]);
    expect([...corpus.start]).toEqual([0, 5]);
    expect([...corpus.length]).toEqual([5, 3]);
    expect([...corpus.season]).toEqual([96, 1]);
    expect([...corpus.frequencyClass]).toEqual([8, 0]);
    expect([...corpus.validation]).toEqual([0, 0]);
  });

  it('holds out every twentieth series of larger datasets', () => {
    write(
      'b',
      Array.from({ length: 41 }, (_, i) => ({ target: [i, i + 1, 2 * i], freq: 'D', seasonality: 7 })),
    );
    const corpus = readCorpus(folder);
    const held = [...corpus.validation].flatMap((v, i) => (v ? [i - 2] : []));
    expect(held).toEqual([7, 27]);
  });

  it('leaves out series by name or by the beginning of it', () => {
    write(
      'c',
      ['one', 'two', 'twenty'].map((id) => ({ id, target: [1, 2, 3] })),
    );
    const count = (...exclude: string[]) => {
      const { dataset, datasets } = readCorpus(folder, exclude);
      return dataset.filter((d) => datasets[d] === 'c').length;
    };
    expect(count()).toBe(3);
    expect(count('c/two')).toBe(2);
    expect(count('c/tw*')).toBe(1);
    expect(count('c/tw', 'b/one')).toBe(3);
    expect(count('c/*')).toBe(0);
  });

  it.each([
    ['no JSON', '{"target": [1, 2', /no JSON/],
    ['text among the values', { target: [1, 'two'] }, /a value is a number or null, not "two"/],
    ['no target', { values: [1] }, /as an array in "target"/],
  ])('names file and line of a bad line: %s', (_, line, message) => {
    const bad = mkdtempSync(join(tmpdir(), 'adder-bad-'));
    writeFileSync(
      join(bad, 'x.ndjson.gz'),
      gzipSync(`{"target":[1]}\n${typeof line === 'string' ? line : JSON.stringify(line)}\n`),
    );
    try {
      readCorpus(bad);
      throw new Error('accepted');
    } catch (error) {
      expect(error).toMatchObject({
        code: 'BAD_DATA',
        message: expect.stringMatching(message),
        where: { file: join(bad, 'x.ndjson.gz'), line: 2 },
      });
    } finally {
      rmSync(bad, { recursive: true });
    }
  });

  it('says so when a folder holds no series', () => {
    const empty = mkdtempSync(join(tmpdir(), 'adder-empty-'));
    expect(() => readCorpus(empty)).toThrow(expect.objectContaining({ code: 'NO_DATA' }));
    rmSync(empty, { recursive: true });
  });
});

describe('SeriesSampler', () => {
  const lengths = [100, 400, 9, 400, 6400, 900];
  const corpus = {
    datasets: ['a', 'b'],
    length: Uint32Array.from(lengths),
    dataset: Uint16Array.from([0, 0, 0, 0, 1, 1]),
    validation: Uint8Array.from([0, 0, 0, 1, 0, 0]),
  } as unknown as Corpus;

  function shares(sampler: SeriesSampler): number[] {
    const counts = new Array(lengths.length).fill(0);
    const n = 200_000;
    for (let i = 0; i < n; i++) counts[sampler.pick((i + 0.5) / n)]++;
    return counts.map((c) => c / n);
  }

  it('weighs datasets, then series, as documented', () => {
    const long = shares(new SeriesSampler(corpus, 'long', 12, false));
    const a = Math.sqrt(500);
    const b = Math.sqrt(4900);
    const expected = [(a / 30) * 10, (a / 30) * 20, 0, 0, (b / 110) * 80, (b / 110) * 30].map((w) => w / (a + b));
    long.forEach((share, i) => {
      expect(share).toBeCloseTo(expected[i]!, 4);
    });
    const short = shares(new SeriesSampler(corpus, 'short', 12, false));
    const c = Math.sqrt(10 + 20);
    const d = Math.sqrt(20 + 20);
    const even = [c / 2, c / 2, 0, 0, d / 2, d / 2].map((w) => w / (c + d));
    short.forEach((share, i) => {
      expect(share).toBeCloseTo(even[i]!, 4);
    });
  });

  it('keeps held-out series apart', () => {
    expect(shares(new SeriesSampler(corpus, 'short', 12, true))).toEqual([0, 0, 0, 1, 0, 0]);
    expect(() => new SeriesSampler(corpus, 'short', 500, true)).toThrow(/no held-out series has 500 values/);
  });
});
