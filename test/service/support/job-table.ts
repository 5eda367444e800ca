/** Job kinds that behave in the ways that the contract is about, with their processors. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineJobs } from '../../../src/jobs/define.js';
import { assignProcessors, type Processor } from '../../../src/jobs/processor.js';
import { AdderError } from '../../../src/platform/errors.js';
import type { Database } from '../../../src/store/database.js';
import { ResultStore } from '../../../src/store/results.js';

const common = {
  queue: 'quick',
  attempts: 3,
  backoff: { type: 'exponential', delayMs: 200 },
  priority: 10,
  timeoutMs: 30_000,
} as const;

export const table = defineJobs({
  queues: { quick: { concurrency: 8 }, single: { concurrency: 1 } },
  kinds: {
    echo: { ...common, data: z.object({ value: z.unknown(), ms: z.number().optional() }) },
    flaky: { ...common, data: z.object({ failures: z.number() }) },
    refused: { ...common, data: z.object({}) },
    obedient: { ...common, data: z.object({ ms: z.number() }) },
    stubborn: { ...common, timeoutMs: 300, attempts: 2, data: z.object({ ms: z.number() }) },
    ordered: { ...common, queue: 'single', data: z.object({ name: z.string(), ms: z.number().default(0) }) },
    unique: { ...common, data: z.object({ key: z.string(), ms: z.number() }), dedupKey: (d: { key: string }) => d.key },
    windows: { ...common, data: z.object({ windows: z.number(), ms: z.number() }) },
    collect: { ...common, data: z.object({}) },
    poison: { ...common, backoff: { type: 'fixed', delayMs: 50 }, data: z.object({}) },
  },
});

/** What the processors saw, in this process. */
export interface Seen {
  order: string[];
  stopped: string[];
  starts: { id: string; attempt: number; at: number }[];
}

export function processors(database: Database, seen: Seen) {
  const results = new ResultStore(database);
  const made: Record<keyof typeof table.kinds, Processor<never>> = {
    echo: (async ({ data, progress }) => {
      progress(0.5, 'half way');
      await sleep(data.ms ?? 0);
      return { value: data.value };
    }) as Processor<{ value: unknown; ms?: number }>,
    flaky: (async ({ id, data, attempt }) => {
      seen.starts.push({ id, attempt, at: Date.now() });
      if (attempt <= data.failures) throw new Error(`failure ${attempt}`);
      return { attempt };
    }) as Processor<{ failures: number }>,
    refused: (async ({ id, attempt }) => {
      seen.starts.push({ id, attempt, at: Date.now() });
      throw new AdderError({
        code: 'NO_VALUES',
        message: 'the series has no values',
        where: { series: 'a' },
        fix: 'send some',
      });
    }) as Processor,
    obedient: (async ({ id, data, signal, progress }) => {
      for (let done = 0; done < data.ms; done += 50) {
        progress(done / data.ms);
        await sleep(50);
        if (signal.aborted) {
          seen.stopped.push(id);
          signal.throwIfAborted();
        }
      }
      return { done: true };
    }) as Processor<{ ms: number }>,
    stubborn: (async ({ id, data, attempt }) => {
      seen.starts.push({ id, attempt, at: Date.now() });
      // It does not look at the signal; the test process need not wait for it.
      await sleep(data.ms, undefined, { ref: false });
      return { attempt };
    }) as Processor<{ ms: number }>,
    ordered: (async ({ data }) => {
      seen.order.push(data.name);
      await sleep(data.ms);
      return undefined;
    }) as Processor<{ name: string; ms: number }>,
    unique: (async ({ data }) => {
      await sleep(data.ms);
      return { key: data.key };
    }) as Processor<{ key: string; ms: number }>,
    windows: (async ({ id, owner, data, attempt, signal, progress }) => {
      const done = await results.windowsDone(id, 's');
      for (let window = 0; window < data.windows; window++) {
        if (done.has(window)) continue;
        signal.throwIfAborted();
        await sleep(data.ms);
        await results.write(owner, id, [
          {
            seriesKey: 's',
            ordinal: 0,
            window,
            kind: 'test',
            seriesId: null,
            cutoff: null,
            meta: { attempt, pid: process.pid },
            columns: { value: Float64Array.of(window) },
          },
        ]);
        progress((window + 1) / data.windows);
      }
      return async (client) => {
        const { rows } = await client.query<{ count: number }>(
          'select count(*)::int as count from results where job_id = $1',
          [id],
        );
        return { windows: rows[0]!.count, attempt };
      };
    }) as Processor<{ windows: number; ms: number }>,
    collect: (async ({ children }) => ({
      values: (await children()).map((child) => child.result?.value),
    })) as Processor,
    poison: (async () => {
      process.kill(process.pid, 'SIGKILL');
      await sleep(10_000);
      return undefined;
    }) as Processor,
  };
  return assignProcessors(
    table,
    Object.entries(made).map(([kind, process]) => ({ kind, name: kind, process })),
  );
}
