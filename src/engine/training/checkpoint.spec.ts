import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { latestCheckpoint, pruneCheckpoints, readCheckpoint, writeCheckpoint } from './checkpoint.js';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'adder-checkpoint-'));
});
afterAll(() => rmSync(root, { recursive: true }));

const content = {
  arrays: {
    parameters: Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i)),
    m: Float64Array.from({ length: 3001 }, (_, i) => 1 / (i + 3)),
    empty: new Float32Array(0),
    odd: Float32Array.from([Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45]),
  },
  run: { step: 12, seed: 7, nested: { list: [1, 2.5, 'x'] } },
};

describe('checkpoints', () => {
  it('come back bit for bit, in shards within the limit', () => {
    const folder = join(root, 'whole');
    const limit = 16_000;
    const shards = writeCheckpoint(folder, content, limit);
    expect(shards.length).toBeGreaterThan(3);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(limit);
    const read = readCheckpoint<typeof content.run>(folder);
    expect(read.run).toEqual(content.run);
    for (const [name, values] of Object.entries(content.arrays)) {
      expect(read.arrays[name]?.constructor).toBe(values.constructor);
      expect(new Uint8Array(read.arrays[name]!.buffer, read.arrays[name]!.byteOffset, values.byteLength)).toEqual(
        new Uint8Array(values.buffer),
      );
    }
    expect(readdirSync(root).filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  it('replaces an older folder of the same name', () => {
    const folder = join(root, 'again');
    writeCheckpoint(folder, content, 16_000);
    const before = readdirSync(folder).length;
    writeCheckpoint(folder, { arrays: { m: content.arrays.m }, run: {} });
    expect(readdirSync(folder).length).toBeLessThan(before);
    expect(Object.keys(readCheckpoint(folder).arrays)).toEqual(['m']);
  });

  it.each([
    ['a changed byte', (f: string) => flip(join(f, 'shard-1.safetensors'), 5000), 'shard-1', /not what was written/],
    ['a truncated shard', (f: string) => truncate(join(f, 'shard-0.safetensors')), 'shard-0', /not what was written/],
    ['a missing shard', (f: string) => rmSync(join(f, 'shard-2.safetensors')), 'shard-2', /missing/],
    [
      'a broken manifest',
      (f: string) => truncate(join(f, 'checkpoint.json')),
      'checkpoint.json',
      /no adder-checkpoint/,
    ],
    [
      'a manifest that leaves its folder',
      (f: string) => edit(join(f, 'checkpoint.json'), 'shard-0.safetensors', '../other.safetensors'),
      'checkpoint.json',
      /no name of a shard/,
    ],
    [
      'a manifest with other lengths',
      (f: string) => edit(join(f, 'checkpoint.json'), '"length": 5000', '"length": 5001'),
      'checkpoint.json',
      /5000 of 5001 numbers/,
    ],
  ])('names the file of %s', (what, damage, file, message) => {
    const folder = join(root, what.replaceAll(' ', '-'));
    writeCheckpoint(folder, content, 16_000);
    damage(folder);
    expect(() => readCheckpoint(folder)).toThrow(
      expect.objectContaining({
        code: 'CHECKPOINT_DAMAGED',
        message: expect.stringMatching(message),
        where: expect.objectContaining({ file: expect.stringContaining(file) }),
      }),
    );
  });

  it('says so when there is none', () => {
    expect(() => readCheckpoint(join(root, 'nowhere'))).toThrow(
      expect.objectContaining({ code: 'CHECKPOINT_MISSING' }),
    );
  });

  it('finds the newest complete one and prunes the rest', () => {
    const run = join(root, 'run');
    expect(latestCheckpoint(run)).toBeUndefined();
    mkdirSync(run);
    for (const step of [5, 100, 20]) writeCheckpoint(join(run, `step-${step}`), { arrays: {}, run: { step } });
    // What a crash while writing leaves behind.
    mkdirSync(join(run, 'step-300'));
    mkdirSync(join(run, '.step-400.1.tmp'));
    expect(latestCheckpoint(run)).toBe(join(run, 'step-100'));
    expect(latestCheckpoint(join(run, 'step-20'))).toBe(join(run, 'step-20'));
    pruneCheckpoints(run, 2);
    expect(existsSync(join(run, 'step-5'))).toBe(false);
    expect(existsSync(join(run, 'step-100'))).toBe(true);
  });
});

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] ^= 1;
  writeFileSync(file, bytes);
}

function truncate(file: string): void {
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.subarray(0, bytes.length >> 1));
}

function edit(file: string, from: string, to: string): void {
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
}
