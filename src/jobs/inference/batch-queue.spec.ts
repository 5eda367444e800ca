import { describe, expect, it } from '@jest/globals';
import { BatchQueue, PATIENT, type Waiting } from './batch-queue.js';

const item = (name: string, fields: Partial<Waiting> = {}): Waiting & { name: string } => ({
  name,
  model: 'm',
  kind: 'forecast',
  weight: 1,
  request: { history: Float64Array.of(1), horizon: 1, season: 1, frequency: undefined, quantiles: [0.5] },
  priority: 10,
  since: 0,
  deadline: Number.POSITIVE_INFINITY,
  crashes: 0,
  resolve: () => {},
  reject: () => {},
  ...fields,
});
const names = (batch: Waiting[]) => batch.map((entry) => (entry as unknown as { name: string }).name).join(' ');

describe('the batch queue', () => {
  it('takes the urgent first, and those of equal urgency as they came', () => {
    const queue = new BatchQueue();
    for (const [name, priority] of [
      ['a', 10],
      ['b', 1],
      ['c', 10],
      ['d', 5],
      ['e', 1],
    ] as const) {
      queue.push(item(name, { priority }));
    }
    expect(queue.size).toBe(5);
    expect(names(queue.take(3))).toBe('b e d');
    expect(names(queue.take(9))).toBe('a c');
    expect(queue.take(9)).toEqual([]);
    expect(queue.size).toBe(0);
  });

  it('never mixes models, and leaves the others in their order', () => {
    const queue = new BatchQueue();
    for (const name of ['a1', 'b1', 'a2', 'b2', 'a3']) queue.push(item(name, { model: name[0]! }));
    expect(names(queue.take(2))).toBe('a1 a2');
    expect(names(queue.take(9))).toBe('b1 b2');
    expect(names(queue.take(9))).toBe('a3');
  });

  it('never mixes kinds, nor what somebody waits for with what nobody does, and bounds the weight of a batch', () => {
    const queue = new BatchQueue();
    queue.push(item('f1'));
    queue.push(item('r1', { kind: 'roll' }));
    queue.push(item('p1', { priority: PATIENT, weight: 5 }));
    queue.push(item('p2', { priority: PATIENT, weight: 4 }));
    queue.push(item('p3', { priority: PATIENT, weight: 3 }));
    queue.push(item('p4', { priority: PATIENT, weight: 30 }));
    expect(names(queue.take(9))).toBe('f1');
    expect(names(queue.take(9))).toBe('r1');
    expect(names(queue.take(8))).toBe('p1 p3');
    expect(names(queue.take(8))).toBe('p2');
    // One that is heavier than any batch is one.
    expect(names(queue.take(8))).toBe('p4');
  });

  it('tries what was in two deaths alone, and what comes back first', () => {
    const queue = new BatchQueue();
    queue.push(item('new'));
    queue.unshift([item('x', { crashes: 2 }), item('y', { crashes: 2 }), item('z', { crashes: 1 })]);
    expect(names(queue.take(9))).toBe('x');
    expect(names(queue.take(9))).toBe('y');
    expect(names(queue.take(9))).toBe('z new');
  });

  it('gives up what is no longer wanted', () => {
    const queue = new BatchQueue();
    for (const name of ['a', 'b', 'c']) queue.push(item(name));
    expect(names(queue.remove((entry) => names([entry]) !== 'b'))).toBe('a c');
    expect(queue.size).toBe(1);
    expect(names([queue.next()!])).toBe('b');
  });
});
