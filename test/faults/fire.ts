/**
 * A cluster under fire: clients add jobs, ask for forecasts and write points through HTTP while processes are killed. What was
 * acknowledged must be there in the end, once, and equal to what a service that nobody touches answers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import { freePort } from '../../src/platform/embedded/guardian.js';
import { weekly } from '../http/app.js';
import { Cluster } from '../service/cluster/cluster.js';
import { until } from '../service/support/processes.js';

export type Victim = 'worker' | 'inference' | 'api' | 'redis' | 'postgres';

export interface Fire {
  queue: 'redis' | 'postgres';
  /** Jobs that shall be acknowledged. */
  jobs: number;
  /** Who is killed, one after the other, evenly over the jobs. */
  victims: readonly Victim[];
}

/** How long everything may take to end after the last kill. */
const SETTLE_MS = 120_000;

const SERIES = 12;
const POINTS = 90;

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

/** What a job leaves: one entry a series and window. */
type Results = Map<string, unknown>;

export class Battle {
  private readonly ports: string[] = [];
  private turn = 0;
  /** Requests that were not answered or were refused, by what came instead. */
  readonly refusals = new Map<string, number>();

  private constructor(
    private readonly cluster: Cluster,
    private readonly fire: Fire,
  ) {}

  static async prepare(fire: Fire): Promise<Battle> {
    const cluster = await Cluster.open(fire.queue, {
      ADDER_LOCK_MS: '2000',
      ADDER_LOG_LEVEL: 'warn',
      ADDER_SYNC_TIMEOUT_MS: '20000',
      ADDER_RATE_BURST: '1000000',
      ADDER_RATE_PER_MINUTE: '10000000',
    });
    const battle = new Battle(cluster, fire);
    try {
      for (let i = 0; i < 2; i++) battle.ports.push(String(await freePort()));
      await Promise.all([
        ...battle.ports.map((port) => cluster.startApi(port)),
        ...battle.ports.map(() => cluster.startWorker()),
      ]);
      await cluster.ready();
      const series = Array.from({ length: SERIES }, (_, s) => ({
        id: `s${s}`,
        timestamps: weekly(POINTS).map((_v, i) => i * 86_400_000),
        values: weekly(POINTS, 50 + s),
      }));
      expect((await battle.once('POST', '/v1/points', { series })).status).toBe(200);
      return battle;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.cluster.close();
  }

  /** One request to one of the APIs in turn. Throws when the connection breaks. */
  private async once(method: string, path: string, body?: object): Promise<Answer> {
    const port = this.ports[this.turn++ % this.ports.length];
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(60_000),
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** As a client does it: again after a broken connection or a 503, never after anything else. */
  private async patiently(method: string, path: string, body?: object): Promise<Answer> {
    for (const end = Date.now() + SETTLE_MS; ; await sleep(100)) {
      let why: string;
      try {
        const answer = await this.once(method, path, body);
        if (answer.status !== 503) return answer;
        why = `503 ${String(answer.body.code)}`;
      } catch (error) {
        why = String((error as { cause?: { code?: string } }).cause?.code ?? (error as Error).name);
      }
      this.refusals.set(why, (this.refusals.get(why) ?? 0) + 1);
      if (Date.now() > end)
        throw new Error(
          `${method} ${path} failed for ${SETTLE_MS} ms, at last with ${why}; all: ${JSON.stringify([...this.refusals])}`,
        );
    }
  }

  /** Body of the i-th job: one of few pieces of work, so that each has its like from before the fire. */
  private job(i: number): { kind: string; body: object } {
    const work = i % 8;
    const deadline = new Date(Date.now() + 3_600_000 + i * 1000).toISOString();
    const series = Array.from({ length: 3 }, (_, k) => `s${(work + 4 * k) % SERIES}`);
    const body =
      work % 4 === 3
        ? { kind: 'anomaly', series, level: 95, last: 20, stride: 5, season: 7, deadline }
        : { kind: 'backtest', series, horizon: 4 + (work % 4), windows: 3, season: 7, deadline };
    return { kind: String(work), body };
  }

  /** Waits for a job and reads all that it left. */
  private async outcome(id: string): Promise<{ job: Record<string, unknown>; results: Results; rows: number }> {
    const job = await until(
      async () => {
        const { status, body } = await this.patiently('GET', `/v1/jobs/${id}`);
        expect(status).toBe(200);
        return body.finishedAt === null ? undefined : body;
      },
      SETTLE_MS,
      `the end of job ${id}`,
    );
    const results: Results = new Map();
    let rows = 0;
    for (let after: string | null = ''; after !== null; ) {
      const { body } = await this.patiently(
        'GET',
        `/v1/jobs/${id}/results?limit=1000${after ? `&after=${after}` : ''}`,
      );
      const page = body.results as { series: string; window: number; kind: string }[];
      for (const result of page) results.set(`${result.series} ${result.window} ${result.kind}`, result);
      rows += page.length;
      after = body.next as string | null;
    }
    return { job, results, rows };
  }

  private async add(body: object): Promise<string> {
    const answer = await this.patiently('POST', '/v1/jobs', body);
    expect(answer).toMatchObject({ status: 202, body: { id: expect.any(String) } });
    return answer.body.id as string;
  }

  /** Kills one, as a crash would, and puts another one in its place where nobody else does. */
  private async strike(victim: Victim): Promise<void> {
    const { cluster } = this;
    switch (victim) {
      case 'worker':
        await cluster.kill(cluster.workers[0]!);
        await cluster.startWorker();
        return;
      case 'api': {
        const api = cluster.apis[0]!;
        await cluster.kill(api.process);
        await cluster.startApi(new URL(api.address).port);
        return;
      }
      case 'inference': {
        const pids = cluster.inference();
        expect(pids.length).toBeGreaterThan(0);
        for (const pid of pids) process.kill(pid, 'SIGKILL');
        return;
      }
      default: {
        const before = cluster.servers()[victim];
        process.kill(before!, 'SIGKILL');
        await until(() => ![undefined, before].includes(cluster.servers()[victim]), 60_000, `another ${victim}`);
      }
    }
  }

  /** The whole of it; every expectation is in here. */
  async fight(): Promise<{ jobs: number; forecasts: number; batches: number; seconds: number }> {
    const { jobs, victims } = this.fire;
    // The same work in peace.
    const peace = new Map<string, Results>();
    for (let i = 0; i < 8; i++) {
      const { kind, body } = this.job(jobs + i);
      const { job, results } = await this.outcome(await this.add(body));
      expect([job.status, job.error, results.size > 0]).toEqual(['succeeded', null, true]);
      peace.set(kind, results);
    }
    const forecast = { series: [{ stored: 's3' }], horizon: 5 };
    const expected = (await this.patiently('POST', '/v1/forecasts', forecast)).body.forecasts;
    const counted = async () => {
      let count = 0;
      for (let before = ''; ; ) {
        const { body } = await this.patiently('GET', `/v1/jobs?limit=1000${before}`);
        const page = body.jobs as { id: string; kind: string; finishedAt: string | null }[];
        count += page.filter(({ kind }) => kind === 'backtest' || kind === 'anomaly').length;
        if (body.next === null) return count;
        before = `&before=${String(body.next)}`;
      }
    };
    const inPeace = await counted();
    this.refusals.clear();

    const since = Date.now();
    const acknowledged: { id: string; kind: string }[] = [];
    let over = false;
    let next = 0;
    const shareOf = (kills: number) => Math.floor((jobs * kills) / (victims.length + 1));
    let allowed = shareOf(1);
    const adders = Array.from({ length: 3 }, async () => {
      while (next < jobs) {
        // Not all at once: each kill shall find jobs that come and jobs that run.
        if (next > allowed) {
          await sleep(20);
          continue;
        }
        const { kind, body } = this.job(next++);
        acknowledged.push({ id: await this.add(body), kind });
      }
    });
    let forecasts = 0;
    const askers = Array.from({ length: 2 }, async () => {
      while (!over) {
        const { status, body } = await this.patiently('POST', '/v1/forecasts', forecast);
        expect([status, body.forecasts]).toEqual([200, expected]);
        forecasts++;
        await sleep(20);
      }
    });
    const written: number[] = [];
    const writer = (async () => {
      for (let batch = 0; !over; batch++) {
        const points = { timestamps: [0, 1, 2].map((k) => (batch * 3 + k) * 1000), values: [batch, null, -batch] };
        const { status } = await this.patiently(
          'POST',
          `/v1/series/written/points?stream=fire&sequence=${batch + 1}`,
          points,
        );
        expect(status).toBe(200);
        written.push(batch);
        await sleep(20);
      }
    })();
    // Whatever fails in them ends the fight at once.
    const all = Promise.all([...adders, ...askers, writer]);
    const failed = Promise.race([this.cluster.fallen, new Promise<never>((_, fail) => all.catch(fail))]);
    failed.catch(() => {});

    try {
      for (const [i, victim] of victims.entries()) {
        const share = shareOf(i + 1);
        await Promise.race([failed, until(() => acknowledged.length >= share, SETTLE_MS * 2, `${share} jobs`)]);
        allowed = shareOf(i + 2);
        await Promise.race([failed, this.strike(victim)]);
      }
      allowed = jobs;
      await Promise.race([failed, Promise.all(adders)]);
      over = true;
      await Promise.race([failed, all]);
    } finally {
      // Those who are still at it stop by themselves.
      over = true;
      next = jobs;
    }

    // An acknowledged job ends, once, with each result once, and those of peace.
    const ends = new Map<string, unknown>();
    for (const { id, kind } of acknowledged) {
      const { job, results, rows } = await this.outcome(id);
      expect({ id, status: job.status, error: job.error }).toEqual({ id, status: 'succeeded', error: null });
      const like = peace.get(kind)!;
      expect([id, rows]).toEqual([id, like.size]);
      expect(results).toEqual(like);
      ends.set(id, job.finishedAt);
    }
    expect(ends.size).toBe(jobs);
    // None is left over, and beside the acknowledged ones there are at most those whose acknowledgement was lost.
    for (const status of ['queued', 'running']) {
      await until(
        async () => {
          const { body } = await this.patiently('GET', `/v1/jobs?status=${status}`);
          return (body.jobs as { kind: string }[]).length === 0;
        },
        SETTLE_MS,
        `no job that is ${status}`,
      );
    }
    const lost = [...this.refusals.values()].reduce((sum, count) => sum + count, 0);
    const made = (await counted()) - inPeace;
    expect(made).toBeGreaterThanOrEqual(jobs);
    expect(made).toBeLessThanOrEqual(jobs + lost);
    for (const [id, finishedAt] of ends) {
      expect((await this.patiently('GET', `/v1/jobs/${id}`)).body.finishedAt).toBe(finishedAt);
    }
    const { body } = await this.patiently('GET', '/v1/series/written/points?limit=1000000');
    expect(body.values).toEqual(written.flatMap((batch) => [batch, null, batch === 0 ? 0 : -batch]));
    return { jobs, forecasts, batches: written.length, seconds: (Date.now() - since) / 1000 };
  }
}
