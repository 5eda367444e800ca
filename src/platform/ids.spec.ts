import { expect, it } from '@jest/globals';
import { orderedId } from './ids.js';

it('makes UUIDs of version 7 that sort in the order of their making, also when the clock stands or goes back', () => {
  const now = Date.now();
  const ids = Array.from({ length: 20_000 }, (_, i) => orderedId(i % 3 === 0 ? now - 5 : now));
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids.slice(0, 100)) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  expect(Number.parseInt(ids[0]!.replace(/-/g, '').slice(0, 12), 16)).toBeGreaterThanOrEqual(now - 5);
});
