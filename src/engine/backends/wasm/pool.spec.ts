/** The allocator: alignment, size classes, reuse, growth and the end of the memory. */
import { describe, expect, it } from '@jest/globals';
import { classOf, FIRST_BLOCK, Pool } from './pool.js';

describe('classOf', () => {
  it('gives aligned sizes that fit and waste at most a quarter', () => {
    for (let bytes = 0; bytes < 5_000_000; bytes = Math.ceil(bytes * 1.07) + 1) {
      const size = classOf(bytes);
      expect(size % 64).toBe(0);
      expect(size).toBeGreaterThanOrEqual(Math.max(bytes, 64));
      expect(size).toBeLessThanOrEqual(Math.max(bytes * 1.25, bytes + 64));
      expect(classOf(size)).toBe(size);
    }
  });
});

describe('Pool', () => {
  it('hands out aligned blocks that do not overlap', () => {
    const pool = new Pool();
    const blocks = [1, 100, 4096, 70_000, 3_000_000].map(classOf).map((size) => ({ size, at: pool.take(size) }));
    let end = FIRST_BLOCK;
    for (const { at, size } of blocks.sort((a, b) => a.at - b.at)) {
      expect(at % 64).toBe(0);
      expect(at).toBeGreaterThanOrEqual(end);
      end = at + size;
    }
    expect(pool.memory.buffer.byteLength).toBeGreaterThanOrEqual(end);
  });

  it('serves a class again from what was given back', () => {
    const pool = new Pool();
    const first = pool.take(classOf(1000));
    const second = pool.take(classOf(1000));
    pool.give(first, classOf(1000));
    expect(pool.take(classOf(2000))).toBeGreaterThan(second);
    expect(pool.take(classOf(1000))).toBe(first);
  });

  it('keeps its contents while it grows, through views taken anew', () => {
    const pool = new Pool();
    const at = pool.take(64);
    pool.f32[at / 4] = 42;
    const before = pool.f32;
    const far = pool.take(classOf(8 << 20));
    expect(pool.f32).not.toBe(before);
    pool.f32[(far + (8 << 20)) / 4 - 1] = 7;
    expect(pool.f32[at / 4]).toBe(42);
    expect(pool.f32[(far + (8 << 20)) / 4 - 1]).toBe(7);
  });

  it('cuts larger spare blocks when it is full, then says what to do', () => {
    const pool = new Pool(32);
    const big = pool.take(classOf(1 << 20));
    while (true) {
      try {
        pool.take(classOf(64 << 10));
      } catch {
        break;
      }
    }
    pool.give(big, classOf(1 << 20));
    const parts = Array.from({ length: 16 }, () => pool.take(classOf(64 << 10)));
    expect(new Set(parts).size).toBe(16);
    for (const at of parts) expect(at >= big && at + (64 << 10) <= big + (1 << 20)).toBe(true);
    expect(() => pool.take(classOf(64 << 10))).toThrow(
      expect.objectContaining({ code: 'OUT_OF_MEMORY', fix: expect.stringContaining('free') }),
    );
  });
});
