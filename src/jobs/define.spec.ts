import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { AdderError } from '../platform/errors.js';
import { defineJobs, type JobKind } from './define.js';
import { assignProcessors } from './processor.js';

const kind = (queue: string): JobKind<'a'> => ({
  queue: queue as 'a',
  data: z.object({}),
  attempts: 1,
  backoff: { type: 'fixed', delayMs: 1 },
  priority: 1,
  timeoutMs: 1,
});
const table = defineJobs({
  queues: { a: { concurrency: 1 } },
  kinds: { one: kind('a'), two: kind('a'), three: kind('a') },
});
const processor = (name: string, of: string) => ({ kind: of, name, process: async () => undefined });

describe('the table of jobs', () => {
  it('names a queue for every kind and a kind for every queue', () => {
    const queues = { a: { concurrency: 1 } };
    expect(() => defineJobs({ queues, kinds: { one: kind('b') } })).toThrow('one names no queue');
    expect(() => defineJobs({ queues: { ...queues, b: { concurrency: 1 } }, kinds: { one: kind('a') } })).toThrow(
      'no job kind uses the queue b',
    );
    expect(() => defineJobs({ queues: { 'a:b': { concurrency: 1 } } as never, kinds: {} })).toThrow(
      'cannot name a queue',
    );
  });

  it('has exactly one processor for every kind, and says at once what is wrong', () => {
    const right = ['one', 'two', 'three'].map((of) => processor(`P${of}`, of));
    expect([...assignProcessors(table, right).keys()]).toEqual(['one', 'two', 'three']);
    let error: AdderError | undefined;
    try {
      assignProcessors(table, [processor('A', 'one'), processor('B', 'one'), processor('C', 'four')]);
    } catch (thrown) {
      error = thrown as AdderError;
    }
    expect(error?.code).toBe('JOB_PROCESSORS');
    expect(error?.message).toBe(
      'C processes four, which is no job kind; A and B both process one; no processor for two; no processor for three',
    );
  });
});
