import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { transformFileSync } from '@swc/core';
import type { PartBuffers, PartOptions } from './batch.js';
import { BatchPool } from './batch-pool.js';
import type { Corpus } from './corpus.js';

const source = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
let compiled: string;
let workerUrl: URL;

/** Threads load JavaScript only: the worker and what it imports are compiled beside each other. */
beforeAll(() => {
  compiled = mkdtempSync(join(tmpdir(), 'adder-worker-'));
  writeFileSync(join(compiled, 'package.json'), '{"type":"module"}');
  for (const folder of ['forecast/training', 'forecast/model', 'platform']) {
    mkdirSync(join(compiled, folder), { recursive: true });
    for (const name of readdirSync(join(source, folder))) {
      if (!/(?<!\.spec)\.ts$/.test(name)) continue;
      const { code } = transformFileSync(join(source, folder, name), {
        jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2022' },
        module: { type: 'es6' },
      });
      writeFileSync(join(compiled, folder, name.replace(/\.ts$/, '.js')), code);
    }
  }
  workerUrl = pathToFileURL(join(compiled, 'forecast/training/batch-worker.js'));
});
afterAll(() => rmSync(compiled, { recursive: true }));

function shared<A extends Float32Array | Uint32Array | Uint8Array | Uint16Array>(array: A): A {
  const make = array.constructor as new (b: SharedArrayBuffer) => A;
  const copy = new make(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}

const corpus: Corpus = {
  datasets: ['waves'],
  values: shared(Float32Array.from({ length: 4000 }, (_, i) => Math.sin(i / 7) + (i % 13) / 10)),
  start: shared(Uint32Array.from({ length: 20 }, (_, i) => 200 * i)),
  length: shared(new Uint32Array(20).fill(200)),
  season: shared(new Uint32Array(20).fill(12)),
  frequencyClass: shared(new Uint8Array(20).fill(3)),
  dataset: shared(new Uint16Array(20)),
  validation: shared(new Uint8Array(20)),
};
const part: PartOptions = {
  windows: 500,
  length: 64,
  patch: 8,
  lags: 3,
  lookAhead: 0.5,
  synthetic: 0.5,
  full: 0.5,
  shortest: 12,
  rollout: 0.2,
  longestRollout: 4,
  augment: true,
  weighting: 'long',
  shortestSeries: 12,
};
const options = { seed: 3, parts: [part, { ...part, length: 24, windows: 100 }], validation: false };

/** A digest of every batch. */
async function batches(pool: BatchPool, count: number): Promise<string[]> {
  const out: string[] = [];
  for (let i = 0; i < count; i++) {
    const { parts } = await pool.next();
    out.push(digest(parts));
    pool.release();
  }
  await pool.close();
  return out;
}

function digest(parts: PartBuffers[]): string {
  const hash = createHash('sha256');
  for (const buffers of parts) {
    for (const array of Object.values(buffers)) hash.update(Buffer.from(array.buffer).subarray());
  }
  return hash.digest('hex');
}

describe('BatchPool', () => {
  it('gives the same batches from one thread, several, or none, and from the middle of a run', async () => {
    const alone = await batches(new BatchPool(corpus, options, 0, { workers: 0 }), 9);
    expect(alone[1]).not.toEqual(alone[0]);
    for (const workers of [1, 3]) {
      expect(await batches(new BatchPool(corpus, options, 0, { workers, workerUrl }), 9)).toEqual(alone);
    }
    const later = await batches(new BatchPool(corpus, options, 5, { workers: 2, slots: 4, workerUrl }), 4);
    expect(later).toEqual(alone.slice(5));
  });

  it('never overwrites a batch that has not been given back', async () => {
    const pool = new BatchPool(corpus, options, 0, { workers: 2, slots: 2, workerUrl });
    const first = await pool.next();
    await expect(pool.next()).rejects.toThrow(/release/);
    const before = digest(first.parts);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(digest(first.parts)).toBe(before);
    await pool.close();
  });

  it('reports a thread that fails', async () => {
    const broken = { ...options, parts: [{ ...part, shortestSeries: 1e6 }] };
    const pool = new BatchPool(corpus, broken, 0, { workers: 1, workerUrl });
    await expect(pool.next()).rejects.toMatchObject({ code: 'BATCH_WORKER' });
    await pool.close();
  });
});
