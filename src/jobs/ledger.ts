import { AdderError } from '../platform/errors.js';
import type { Database, Queryable } from '../store/database.js';
import { cancelledError, childError, deadlineError, type JobError, workerLostError } from './failures.js';

export type JobStatus = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export interface JobRecord {
  id: string;
  owner: string;
  kind: string;
  queue: string;
  status: JobStatus;
  data: object;
  priority: number;
  parentId: string | null;
  attempts: number;
  maxAttempts: number;
  deadline: Date | null;
  /** 0 to 1. */
  progress: number;
  /** What the job is doing, for people. */
  note: string | null;
  /** What the processor returned: small, with the ids of what is large. */
  result: Record<string, unknown> | null;
  error: JobError | null;
  cancelRequestedAt: Date | null;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
}

export interface NewJob {
  id: string;
  owner: string;
  kind: string;
  queue: string;
  data: object;
  priority: number;
  dedupKey: string | null;
  parentId: string | null;
  maxAttempts: number;
  deadline: Date | null;
  /** Bytes that the job works on; kept until it has finished. */
  payload: Uint8Array | null;
}

/** A job whose run has begun, with the bytes that came with it. */
export type StartedJob = JobRecord & { payload: Buffer | null };

/** What a job leaves for whoever waits for it. */
export type JobOutcome = Pick<JobRecord, 'status' | 'result' | 'error'> & { output: Buffer | null };

/** Channel of PostgreSQL's NOTIFY on which changes of jobs are told; see events.ts. */
export const CHANNEL = 'adder_jobs';

export const isFinal = (status: JobStatus) => status !== 'queued' && status !== 'running';

const COLUMNS = `id, owner, kind, queue, status, data, priority, parent_id as "parentId", attempts, max_attempts as "maxAttempts",
  deadline, progress, note, result, error, cancel_requested_at as "cancelRequestedAt", created_at as "createdAt",
  started_at as "startedAt", finished_at as "finishedAt"`;

const UNFINISHED = `status in ('queued', 'running')`;

/** Does not wait for the disk: what it writes is worth nothing after a crash. Ends with the statement. */
const RELAXED = `relaxed as (select set_config('synchronous_commit', 'off', true))`;

/** Wraps a statement named `done` (id, status, progress, note) so that its changes are told to all processes. */
const TELL = `, told as (select pg_notify('${CHANNEL}', json_build_object('id', id, 'status', status, 'progress', progress, 'note', note)::text) from done)`;

/**
 * The durable truth about jobs, in PostgreSQL. The queue carries ids only and may forget: whatever is unfinished here is
 * queued again. A run is identified by the job's id and the number of the attempt, so a worker that lost its job and
 * does not know it changes nothing.
 */
export class JobLedger {
  constructor(readonly database: Database) {}

  /**
   * Records jobs, all or none. Returns the id under which each is known: its own, or that of the unfinished job with the
   * same dedup key. Only single jobs may carry a dedup key.
   * Throws `TOO_MANY_JOBS` when the owner would pass `limit` unfinished jobs.
   */
  async insert(client: Queryable, jobs: readonly NewJob[], limit: number): Promise<string[]> {
    const owner = jobs[0]!.owner;
    const { rowCount } = await client.query({
      name: 'adder_count_jobs',
      text: `select from jobs where owner = $1 and ${UNFINISHED} limit $2`,
      values: [owner, limit],
    });
    const room = limit - (rowCount ?? 0);
    if (jobs.length > room) {
      throw new AdderError({
        code: 'TOO_MANY_JOBS',
        message: `${limit} unfinished jobs are allowed, ${limit - room} are there already`,
        fix: 'wait for some to finish, or cancel them',
      });
    }
    const known: string[] = [];
    for (const job of jobs) known.push(await this.insertOne(client, job));
    return known;
  }

  private async insertOne(client: Queryable, job: NewJob): Promise<string> {
    for (;;) {
      const { rowCount } = await client.query({
        name: 'adder_insert_job',
        text: `insert into jobs (id, owner, kind, queue, data, priority, dedup_key, parent_id, max_attempts, deadline, payload)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (owner, kind, dedup_key) do nothing`,
        values: [
          job.id,
          job.owner,
          job.kind,
          job.queue,
          JSON.stringify(job.data),
          job.priority,
          job.dedupKey,
          job.parentId,
          job.maxAttempts,
          job.deadline,
          job.payload ? asBuffer(job.payload) : null,
        ],
      });
      if (rowCount === 1) return job.id;
      const { rows } = await client.query<{ id: string }>(
        'select id from jobs where owner = $1 and kind = $2 and dedup_key = $3',
        [job.owner, job.kind, job.dedupKey],
      );
      // None: it finished in between, so ours can be the next.
      if (rows[0]) return rows[0].id;
    }
  }

  /** A job of an owner. Throws `UNKNOWN_JOB`. */
  async get(owner: string, id: string): Promise<JobRecord> {
    const { rows } = await this.database.pool.query<JobRecord>({
      name: 'adder_get_job',
      text: `select ${COLUMNS} from jobs where id = $1 and owner = $2`,
      values: [checkId(id), owner],
    });
    if (!rows[0]) throw unknownJob(id);
    return rows[0];
  }

  /** A job of whatever owner, for the worker that runs it. */
  async find(id: string): Promise<JobRecord | undefined> {
    const { rows } = await this.database.pool.query<JobRecord>(`select ${COLUMNS} from jobs where id = $1`, [id]);
    return rows[0];
  }

  /** Jobs of an owner, newest first. `before` is the last id of the page before. */
  async list(
    owner: string,
    options: { kind?: string; status?: JobStatus; before?: string; limit?: number } = {},
  ): Promise<JobRecord[]> {
    const { rows } = await this.database.pool.query<JobRecord>(
      `select ${COLUMNS} from jobs where owner = $1 and ($2::text is null or kind = $2)
         and ($3::job_status is null or status = $3)
         and ($4::uuid is null or (created_at, id) < (select created_at, id from jobs where id = $4 and owner = $1))
       order by created_at desc, id desc limit $5`,
      [
        owner,
        options.kind ?? null,
        options.status ?? null,
        options.before === undefined ? null : checkId(options.before),
        Math.min(options.limit ?? 100, 1000),
      ],
    );
    return rows;
  }

  /** The jobs that a job of a flow waited for, in order of creation. */
  async children(id: string): Promise<JobRecord[]> {
    const { rows } = await this.database.pool.query<JobRecord>(
      `select ${COLUMNS} from jobs where parent_id = $1 order by id`,
      [id],
    );
    return rows;
  }

  /**
   * Begins a run. Returns the job when it is to be run, otherwise its final status: it was finished by another run, was
   * cancelled, came too late, or has used up its attempts (the last three are recorded here).
   */
  async start(id: string): Promise<StartedJob | JobStatus | 'missing'> {
    const { rows } = await this.database.pool.query<StartedJob>({
      name: 'adder_start_job',
      text: `with ${RELAXED}
             update jobs set status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, now()), touched_at = now()
             from relaxed where id = $1 and ${UNFINISHED} and attempts < max_attempts and cancel_requested_at is null
               and (deadline is null or deadline > now())
             returning ${COLUMNS}, payload`,
      values: [id],
    });
    if (rows[0]) return rows[0];
    const job = await this.find(id);
    if (!job) return 'missing';
    if (isFinal(job.status)) return job.status;
    const status = job.cancelRequestedAt ? 'cancelled' : 'failed';
    const error = job.cancelRequestedAt
      ? cancelledError('cancelled on request')
      : job.deadline && job.deadline.getTime() <= Date.now()
        ? deadlineError()
        : workerLostError(job.attempts);
    await this.finish(job, { status, error });
    return status;
  }

  /**
   * Ends a run: `write` keeps what the run produced in the same transaction. Returns false, and keeps nothing, when the run
   * is no longer the job's: another worker has it, or it was ended.
   */
  async finish(
    job: Pick<JobRecord, 'id' | 'attempts'>,
    outcome:
      | { status: 'succeeded'; write: (client: Queryable) => Promise<{ result: object; output: Uint8Array | null }> }
      | { status: 'failed' | 'cancelled'; error: JobError },
    durable = true,
  ): Promise<boolean> {
    return this.database.transaction(
      async (client) => {
        const held = await client.query({
          name: 'adder_hold_job',
          text: `select from jobs where id = $1 and attempts = $2 and ${UNFINISHED} for update`,
          values: [job.id, job.attempts],
        });
        if (held.rowCount !== 1) return false;
        const made = outcome.status === 'succeeded' ? await outcome.write(client) : undefined;
        await client.query({
          name: 'adder_finish_job',
          text: `with done as (update jobs set status = $2, result = $3, error = $4, output = $5, payload = null, dedup_key = null,
                   progress = case when $4::jsonb is null then 1 else progress end, finished_at = now(), touched_at = now()
                   where id = $1 returning id, status, progress, note)${TELL}
                 select from told`,
          values: [
            job.id,
            outcome.status,
            made ? JSON.stringify(made.result) : null,
            outcome.status === 'succeeded' ? null : JSON.stringify(outcome.error),
            made?.output ? asBuffer(made.output) : null,
          ],
        });
        if (!made) await failAncestors(client, job.id);
        return true;
      },
      { durable },
    );
  }

  /** The bytes that a job left, or null. */
  async output(owner: string, id: string): Promise<Buffer | null> {
    const { rows } = await this.database.pool.query<{ output: Buffer | null }>(
      'select output from jobs where id = $1 and owner = $2',
      [checkId(id), owner],
    );
    return rows[0]?.output ?? null;
  }

  /**
   * What became of a finished job, which is forgotten with that; undefined while it is unfinished. For callers that wait.
   * Throws `UNKNOWN_JOB`.
   */
  async take(owner: string, id: string): Promise<JobOutcome | undefined> {
    const { rows } = await this.database.pool.query<JobOutcome>({
      name: 'adder_take_job',
      text: `with ${RELAXED} delete from jobs using relaxed where id = $1 and owner = $2 and not (${UNFINISHED})
             returning status, result, error, output`,
      values: [checkId(id), owner],
    });
    if (!rows[0]) await this.get(owner, id);
    return rows[0];
  }

  /**
   * Gives a run back to the queue. `free` does not count it as an attempt (the worker is shutting down).
   * False when the run is no longer the job's.
   */
  async release(job: Pick<JobRecord, 'id' | 'attempts'>, error: JobError | null, free = false): Promise<boolean> {
    const { rowCount } = await this.database.pool.query(
      `update jobs set status = 'queued', touched_at = now(), note = $3, max_attempts = max_attempts + $4
       where id = $1 and attempts = $2 and status = 'running'`,
      [job.id, job.attempts, error ? `trying again after: ${error.message}`.slice(0, 500) : null, free ? 1 : 0],
    );
    return rowCount === 1;
  }

  /** Tells how far a run is. Without effect when the run is no longer the job's. */
  async progress(job: Pick<JobRecord, 'id' | 'attempts'>, fraction: number, note: string | null): Promise<void> {
    await this.database.pool.query({
      name: 'adder_job_progress',
      text: `with ${RELAXED}, done as (update jobs set progress = $3, note = $4, touched_at = now() from relaxed
               where id = $1 and attempts = $2 and status = 'running' returning id, status, progress, note)${TELL}
             select from told`,
      values: [job.id, job.attempts, Math.min(1, Math.max(0, fraction)), note],
    });
  }

  /**
   * Cancels a job of an owner and everything below it. Jobs that wait are cancelled at once, jobs that run are told to stop.
   * Returns them with the status they have now; none when all were finished. Throws `UNKNOWN_JOB`.
   */
  async cancel(owner: string, id: string, reason: string): Promise<{ id: string; queue: string; status: JobStatus }[]> {
    await this.get(owner, id);
    return this.database.transaction(async (client) => {
      const { rows } = await client.query<{ id: string; queue: string; status: JobStatus }>(
        `with recursive tree as (
           select id from jobs where id = $1 and owner = $2
           union all select j.id from jobs j join tree t on j.parent_id = t.id),
         done as (update jobs set cancel_requested_at = coalesce(cancel_requested_at, now()), touched_at = now(),
           finished_at = case when status = 'queued' then now() end,
           dedup_key = case when status = 'queued' then null else dedup_key end,
           error = case when status = 'queued' then $3::jsonb else error end,
           status = case when status = 'queued' then 'cancelled' else status end
           where id in (select id from tree) and ${UNFINISHED} returning id, queue, status, progress, note),
         told as (select pg_notify('${CHANNEL}', json_build_object('id', id, 'status', status, 'progress', progress, 'note', note,
           'cancel', status = 'running')::text) from done)
         select id, queue, status from done, (select count(*) from told) as all_told`,
        [id, owner, JSON.stringify(cancelledError(reason))],
      );
      if (rows.some((row) => row.status === 'cancelled')) await failAncestors(client, id);
      return rows;
    });
  }

  /** Signs of life of running jobs; returns those that shall stop, because they were cancelled or are no longer ours. */
  async touch(runs: readonly Pick<JobRecord, 'id' | 'attempts'>[]): Promise<Set<string>> {
    if (runs.length === 0) return new Set();
    const { rows } = await this.database.pool.query<{ id: string }>(
      `with ${RELAXED}, ours as (select * from unnest($1::uuid[], $2::int[]) as r (id, attempts)),
       alive as (update jobs j set touched_at = now() from ours, relaxed where j.id = ours.id and j.attempts = ours.attempts
         and j.status = 'running' and j.cancel_requested_at is null returning j.id)
       select id from ours where id not in (select id from alive)`,
      [runs.map((run) => run.id), runs.map((run) => run.attempts)],
    );
    return new Set(rows.map((row) => row.id));
  }

  /** Fails jobs whose deadline has passed: waiting ones at once, running ones when their worker has not done it. */
  async expire(): Promise<number> {
    const { rows } = await this.database.pool.query<{ id: string }>(
      `with done as (update jobs set status = 'failed', error = $1, dedup_key = null, finished_at = now(), touched_at = now()
         where id in (select id from jobs where ${UNFINISHED} and deadline < now()
             and (status = 'queued' or deadline < now() - interval '10 seconds') limit 500 for update skip locked)
         returning id, status, progress, note)${TELL} select id from done, (select count(*) from told) as all_told`,
      [JSON.stringify(deadlineError())],
    );
    for (const { id } of rows) await failAncestors(this.database.pool, id);
    return rows.length;
  }

  /**
   * Unfinished jobs without a sign of life for `silentMs`, and without unfinished children; each caller gets others.
   * The queue may have lost them.
   */
  async silent(silentMs: number): Promise<JobRecord[]> {
    const { rows } = await this.database.pool.query<JobRecord>(
      `update jobs set touched_at = now() where id in (
         select id from jobs j where ${UNFINISHED} and touched_at < now() - $1 * interval '1 millisecond'
           and not exists (select from jobs c where c.parent_id = j.id and c.status in ('queued', 'running'))
         order by touched_at limit 200 for update skip locked)
       returning ${COLUMNS}`,
      [silentMs],
    );
    return rows;
  }

  /** Removes jobs, with their results, that finished longer ago than `ageMs`, at most a thousand; returns how many. */
  async forget(ageMs: number, kind: string | null = null): Promise<number> {
    const { rowCount } = await this.database.pool.query(
      `delete from jobs where id in (select id from jobs j where finished_at < now() - $1 * interval '1 millisecond'
         and ($2::text is null or kind = $2)
         and not exists (select from jobs p where p.id = j.parent_id and p.finished_at is null)
         order by finished_at limit 1000 for update skip locked)`,
      [ageMs, kind],
    );
    return rowCount ?? 0;
  }
}

/** Buffers go to the database in binary form, whatever view of bytes they come as. */
const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A job that did not succeed takes with it those that wait for it. */
async function failAncestors(client: Queryable, id: string): Promise<void> {
  await client.query(
    `with recursive up as (
       select id, parent_id from jobs where id = $1
       union all select j.id, j.parent_id from jobs j join up on j.id = up.parent_id),
     done as (update jobs set status = 'failed', error = $2, dedup_key = null, finished_at = now(), touched_at = now()
       where id in (select parent_id from up) and ${UNFINISHED} returning id, status, progress, note)${TELL}
     select from told`,
    [id, JSON.stringify(childError(id))],
  );
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function checkId(id: string): string {
  if (!UUID.test(id)) throw unknownJob(id);
  return id;
}

const unknownJob = (id: string) =>
  new AdderError({
    code: 'UNKNOWN_JOB',
    message: `there is no job ${id.slice(0, 64)}`,
    fix: 'check the id; finished jobs are kept for a limited time',
  });
