import type { z } from 'zod';
import { AdderError } from '../platform/errors.js';

/** What a queue is for, and how much of it one worker process holds at a time. */
export interface QueueSettings {
  concurrency: number;
}

/** Everything that is fixed about a kind of job. This is the only place where it is decided. */
export interface JobKind<Queue extends string = string> {
  queue: Queue;
  /** Ids and small parameters. Arrays of observations lie in the store. */
  data: z.ZodType<object>;
  /** Runs before the job fails for good; a run that ends with its worker counts. */
  attempts: number;
  /** Pause before the second run; doubles with every further one when exponential. */
  backoff: { type: 'fixed' | 'exponential'; delayMs: number };
  /** 1 is the most urgent of a queue; larger numbers wait. */
  priority: number;
  /** Longest time of one run. */
  timeoutMs: number;
  /**
   * False for jobs that somebody waits for and asks again when they are lost: they need not reach the disk before they are
   * acknowledged. A crash of PostgreSQL itself (of no other process) may lose the last ones. True by default.
   */
  durable?: boolean;
  /** A worker that shuts down gives a run back at once, instead of letting it finish for as long as is configured. */
  givesBack?: boolean;
  /** How long a finished job of this kind is kept; as configured for all when absent. */
  keepMs?: number;
  /** Jobs of one owner and equal key are one job while it is unfinished. */
  dedupKey?: (data: never) => string;
}

/** The one table of queues and job kinds of a process. */
export interface JobTable {
  queues: Record<string, QueueSettings>;
  kinds: Record<string, JobKind>;
}

export type KindOf<T extends JobTable> = keyof T['kinds'] & string;
export type DataOf<T extends JobTable, K extends KindOf<T>> = z.output<T['kinds'][K]['data']>;

/** Checks a table and gives it back with its exact types. */
export function defineJobs<
  const Q extends Record<string, QueueSettings>,
  const K extends Record<string, JobKind<keyof Q & string>>,
>(table: { queues: Q; kinds: K }): { queues: Q; kinds: K } {
  const used = new Set(Object.values(table.kinds).map((kind) => kind.queue));
  for (const [name, kind] of Object.entries<JobKind>(table.kinds)) {
    if (!Object.hasOwn(table.queues, kind.queue)) throw new Error(`job kind ${name} names no queue of the table`);
    if (kind.attempts < 1 || kind.priority < 1) throw new Error(`job kind ${name}: attempts and priority begin at 1`);
  }
  for (const queue of Object.keys(table.queues)) {
    // BullMQ builds its keys with colons.
    if (!/^[a-z][a-z0-9-]*$/.test(queue)) throw new Error(`${queue} cannot name a queue`);
    if (!used.has(queue)) throw new Error(`no job kind uses the queue ${queue}`);
  }
  return table;
}

const MAX_DATA_BYTES = 16_384;
const MAX_LIST = 64;

/**
 * The data of a job as its schema gives it. Throws `UNKNOWN_JOB_KIND`, `BAD_JOB_DATA` when the schema refuses it, and
 * `JOB_DATA_TOO_LARGE` for what belongs in the store: such a job would be copied with every move of the queue.
 */
export function checkData(table: JobTable, kind: string, data: unknown): object {
  const settings = Object.hasOwn(table.kinds, kind) ? table.kinds[kind] : undefined;
  if (!settings) throw new AdderError({ code: 'UNKNOWN_JOB_KIND', message: `there is no job kind ${kind}` });
  const parsed = settings.data.safeParse(data);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new AdderError({
      code: 'BAD_JOB_DATA',
      message: `the data of a ${kind} job is not valid: ${issue?.message ?? 'unknown reason'}`,
      where: { field: issue?.path.join('.') || 'data' },
      cause: parsed.error,
    });
  }
  const long = longList(parsed.data, 'data');
  const bytes = Buffer.byteLength(JSON.stringify(parsed.data));
  if (long || bytes > MAX_DATA_BYTES) {
    throw new AdderError({
      code: 'JOB_DATA_TOO_LARGE',
      message: long
        ? `${long} holds more than ${MAX_LIST} values`
        : `the data has ${bytes} bytes, ${MAX_DATA_BYTES} are allowed`,
      where: { field: long ?? 'data' },
      fix: 'keep it in the object store and put its id into the job',
    });
  }
  return parsed.data;
}

/** Path of the first list that is too long, or of typed arrays, which are never small parameters. */
function longList(value: unknown, path: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (ArrayBuffer.isView(value)) return path;
  if (Array.isArray(value) && value.length > MAX_LIST) return path;
  for (const [key, item] of Object.entries(value)) {
    const found = longList(item, `${path}.${key}`);
    if (found) return found;
  }
  return undefined;
}
