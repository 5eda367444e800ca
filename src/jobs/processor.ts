import { AdderError } from '../platform/errors.js';
import type { Queryable } from '../store/database.js';
import type { DataOf, JobTable, KindOf } from './define.js';
import type { JobRecord } from './ledger.js';

/** What a processor knows of its run. */
export interface JobContext<Data extends object = object> {
  id: string;
  owner: string;
  data: Data;
  /** 1 for the first run. */
  attempt: number;
  deadline: Date | null;
  priority: number;
  /** The bytes that came with the job. */
  payload: Buffer | null;
  /** Aborted when the run shall stop: cancelled, too late, timed out, worker shutting down, or taken by another worker. */
  signal: AbortSignal;
  /** Tells how far the run is, 0 to 1; calls that follow each other quickly are merged. */
  progress(fraction: number, note?: string): void;
  /** The jobs of the flow that this one waited for, with their results. */
  children(): Promise<JobRecord[]>;
}

/** Small values and ids; what is large lies in the store. */
export type JobOutput = Record<string, unknown>;

/** Bytes for whoever waits for the job (`JobClient.call`), beside its small result. */
export class JobBytes {
  constructor(
    readonly bytes: Uint8Array,
    readonly result: JobOutput = {},
  ) {}
}

/**
 * Runs one kind of job. It may be run again at any time, also beside a run that has lost its worker without knowing, so what
 * it writes must be keyed (job, series, window). It may return a function: that writes in the transaction which ends the
 * job, so that the writes are there exactly if the job has succeeded.
 */
export type Processor<Data extends object = object> = (
  context: JobContext<Data>,
) => Promise<JobOutput | JobBytes | ((client: Queryable) => Promise<JobOutput>) | undefined>;

/** A class that processes one kind of job, for use with `@JobProcessor`. */
export interface JobHandler<T extends JobTable, K extends KindOf<T>> {
  process: Processor<DataOf<T, K>>;
}

const KIND = Symbol('adder.job-kind');

/** Marks a provider class as the processor of a job kind; the jobs module finds it at start. */
export function JobProcessor(kind: string): ClassDecorator {
  return (target) => {
    Object.defineProperty(target, KIND, { value: kind });
  };
}

/** The job kind that a class was marked with. */
export function processedKind(type: unknown): string | undefined {
  return typeof type === 'function' && Object.hasOwn(type, KIND) ? (type as { [KIND]?: string })[KIND] : undefined;
}

/**
 * The processor of every kind of the table. Throws one AdderError (`JOB_PROCESSORS`) that names every kind that has none or
 * more than one, and every processor of a kind that does not exist: found at start, not when the first job comes.
 */
export function assignProcessors(
  table: JobTable,
  found: readonly { kind: string; name: string; process: Processor<never> }[],
): Map<string, Processor> {
  const problems: string[] = [];
  for (const { kind, name } of found) {
    if (!Object.hasOwn(table.kinds, kind)) problems.push(`${name} processes ${kind}, which is no job kind`);
  }
  const processors = new Map<string, Processor>();
  for (const kind of Object.keys(table.kinds)) {
    const own = found.filter((processor) => processor.kind === kind);
    if (own.length === 1) processors.set(kind, own[0]!.process as unknown as Processor);
    else if (own.length === 0) problems.push(`no processor for ${kind}`);
    else problems.push(`${own.map(({ name }) => name).join(' and ')} both process ${kind}`);
  }
  if (problems.length === 0) return processors;
  throw new AdderError({
    code: 'JOB_PROCESSORS',
    message: problems.join('; '),
    fix: 'every kind of the job table has exactly one @JobProcessor among the providers',
  });
}
