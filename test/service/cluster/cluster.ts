/** Several API and worker processes on one PostgreSQL and one queue, as docs/deploy.md sets them up. */
import { readdirSync, readFileSync } from 'node:fs';
import { type EmbeddedServer, startPostgres } from '../../../src/platform/embedded/postgres.js';
import { findRedisServer, startRedis } from '../../../src/platform/embedded/redis.js';
import { Helper, scratch, until } from '../support/processes.js';
import { processPids } from '../support/server-pids.js';

export interface Api {
  address: string;
  process: Helper;
}

export class Cluster {
  readonly apis: Api[] = [];
  readonly workers: Helper[] = [];
  private readonly all: Helper[] = [];
  /** Rejects when a process ends that nobody has killed. */
  readonly fallen: Promise<never>;
  private fall: (error: Error) => void = () => {};

  private constructor(
    private readonly dir: ReturnType<typeof scratch>,
    readonly postgres: EmbeddedServer,
    readonly redis: EmbeddedServer | undefined,
    private readonly env: Record<string, string>,
  ) {
    this.fallen = new Promise((_, fail) => {
      this.fall = fail;
    });
    this.fallen.catch(() => {});
  }

  private watch(helper: Helper, what: string): void {
    this.all.push(helper);
    void helper.exited.then((code) => {
      if (!helper.child.killed) this.fall(new Error(`${what} ended by itself (${code}): ${helper.lastWords}`));
    });
  }

  /** The servers, not yet any process of Adder. */
  static async open(queue: 'redis' | 'postgres', env: Record<string, string> = {}): Promise<Cluster> {
    const dir = scratch();
    const postgres = await startPostgres(dir.path);
    const redis = queue === 'redis' ? await startRedis(dir.path, findRedisServer()!) : undefined;
    return new Cluster(dir, postgres, redis, {
      DATABASE_URL: postgres.url,
      ...(redis ? { REDIS_URL: redis.url, ADDER_QUEUE: 'redis' } : { REDIS_URL: '', ADDER_QUEUE: 'postgres' }),
      ADDER_LOG_FORMAT: 'json',
      ADDER_LOG_LEVEL: 'debug',
      ADDER_BACKEND: 'wasm',
      ADDER_MODEL: 'theta',
      PORT: '0',
      ...env,
    });
  }

  async startWorker(): Promise<Helper> {
    const worker = Helper.start('src/worker.ts', [], { env: this.env });
    this.watch(worker, 'a worker');
    await worker.next();
    this.workers.push(worker);
    return worker;
  }

  /** An API process that listens; on a free port, or on the one given. */
  async startApi(port = '0'): Promise<Api> {
    const process = Helper.start('test/service/cluster/api.ts', [], { env: { ...this.env, PORT: port } });
    this.watch(process, 'an API');
    const { address } = await process.next<{ address: string }>();
    const api = { address, process };
    this.apis.push(api);
    return api;
  }

  async ready(): Promise<void> {
    for (const { address } of this.apis) {
      await until(async () => (await fetch(`${address}/health/ready`)).ok, 60_000, `readiness of ${address}`);
    }
  }

  /** Kills the process as a crash would, and forgets it. */
  async kill(process: Helper): Promise<void> {
    const worker = this.workers.indexOf(process);
    if (worker >= 0) this.workers.splice(worker, 1);
    const api = this.apis.findIndex((candidate) => candidate.process === process);
    if (api >= 0) this.apis.splice(api, 1);
    await process.kill('SIGKILL');
  }

  /** Process ids of PostgreSQL and Redis as they are now. */
  servers(): ReturnType<typeof processPids> {
    return processPids(this.dir.path);
  }

  /** Inference processes of our workers. */
  inference(): number[] {
    const mine = new Set(this.workers.map(({ child }) => child.pid!));
    return childrenOf(mine);
  }

  async close(): Promise<void> {
    for (const helper of this.all) await helper.kill();
    await this.redis?.stop();
    await this.postgres.stop();
    this.dir.remove();
  }
}

/** Ids of the processes whose parent is one of these (Linux only). */
function childrenOf(parents: ReadonlySet<number>): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return parents.has(Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]));
      } catch {
        return false;
      }
    });
}
