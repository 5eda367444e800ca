import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { AdderError } from '../errors.js';
import { freePort, Guarded, isAlive, Kept, runsProgram, sleep, waitGone } from './guardian.js';
import { becomeOwner, livingOwner, withLock } from './owner.js';
import type { EmbeddedServer } from './postgres.js';

const START_MS = 60_000;
const STOP_MS = 15_000;

/** A server that ends so often before its first answer is not going to start. */
const FUTILE_STARTS = 3;

/** The first Redis server program on the PATH that runs; undefined when there is none. */
export function findRedisServer(): string | undefined {
  return ['redis-server', 'valkey-server'].find((name) => spawnSync(name, ['--version']).status === 0);
}

/**
 * Starts a private Redis on 127.0.0.1, or joins the one that already runs for this data folder. It appends every write
 * to its file before it answers, so a killed server loses nothing that it acknowledged (a power cut up to one second). If it dies it is started again on
 * the same port.
 *
 * @param dataDir absolute; files go to `redis/` in it
 */
export async function startRedis(dataDir: string, program: string): Promise<EmbeddedServer> {
  mkdirSync(dataDir, { recursive: true });
  return withLock(join(dataDir, 'redis.lock'), async () => {
    const folder = join(dataDir, 'redis');
    const note = join(dataDir, 'redis.owner');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const end = Date.now() + START_MS;
    const running = readRunning(folder);
    if (running) {
      const version = await answers(running.port, running.password, () => isAlive(running.pid), end);
      if (version) {
        const owner = livingOwner(note);
        if (owner === undefined) becomeOwner(note);
        return {
          url: urlOf(running.port, running.password),
          description: `Redis ${version}, private in ${folder} (port ${running.port}, process ${running.pid}, ${owner === undefined ? 'taken over' : `shared with process ${owner}`})`,
          pid: running.pid,
          stop: async () => {
            if (owner !== undefined) return;
            if (isAlive(running.pid)) process.kill(running.pid, 'SIGTERM');
            await waitGone(running.pid, STOP_MS);
            rmSync(note, { force: true });
          },
        };
      }
      // Two servers must never append to one file.
      if (!(await waitGone(running.pid, STOP_MS)))
        throw failure(folder, `process ${running.pid} neither answers nor ends`);
    }
    return start(dataDir, folder, note, program, end);
  });
}

async function start(
  dataDir: string,
  folder: string,
  note: string,
  program: string,
  end: number,
): Promise<EmbeddedServer> {
  const port = await freePort();
  const password = randomBytes(24).toString('base64url');
  const config = join(folder, 'redis.conf');
  const log = join(dataDir, 'redis.log');
  // In a file, because arguments can be read by every user of the machine.
  writeFileSync(config, configuration(folder, port, password), { mode: 0o600 });
  becomeOwner(note);
  const server = new Kept(() => Guarded.start(program, [config], { stopSignal: 'TERM', logFile: log }));
  const version = await answers(port, password, () => server.failures < FUTILE_STARTS, end);
  if (!version) {
    await server.stop(STOP_MS);
    throw failure(folder, readFileSync(log, 'utf8').trim().split('\n').slice(-4).join(' / ') || 'no output', log);
  }
  const pidNow = () => readRunning(folder)?.pid ?? 0;
  return {
    url: urlOf(port, password),
    description: `Redis ${version}, private in ${folder} (port ${port}, process ${pidNow()})`,
    pid: pidNow(),
    stop: async () => {
      if (!(await server.stop(STOP_MS)) && pidNow() > 0) process.kill(pidNow(), 'SIGKILL');
      rmSync(note, { force: true });
    },
  };
}

const configuration = (folder: string, port: number, password: string) => `bind 127.0.0.1
port ${port}
requirepass ${password}
dir ${JSON.stringify(folder)}
pidfile ${JSON.stringify(join(folder, 'redis.pid'))}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
`;

const urlOf = (port: number, password: string) => `redis://:${password}@127.0.0.1:${port}`;

/** The server of this folder if its process lives, from the files that it and we left. */
function readRunning(folder: string): { pid: number; port: number; password: string } | undefined {
  const pidFile = join(folder, 'redis.pid');
  const config = join(folder, 'redis.conf');
  if (!existsSync(pidFile) || !existsSync(config)) return undefined;
  const pid = Number(readFileSync(pidFile, 'utf8'));
  if (!runsProgram(pid, /redis|valkey/)) return undefined;
  const text = readFileSync(config, 'utf8');
  const port = Number(/^port (\d+)$/m.exec(text)?.[1]);
  const password = /^requirepass (\S+)$/m.exec(text)?.[1];
  return port > 0 && password ? { pid, port, password } : undefined;
}

/** Polls until the server has loaded its file; its version, or undefined when it ends or refuses us before. */
async function answers(port: number, password: string, alive: () => boolean, end: number): Promise<string | undefined> {
  while (alive() && Date.now() < end) {
    const client = new Redis({
      host: '127.0.0.1',
      port,
      password,
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      connectTimeout: 2000,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      // The port is open while the file is being loaded; PING then answers with an error.
      await client.ping();
      const info = await client.info('server');
      return /^(?:valkey_version|redis_version):(\S+)/m.exec(info)?.[1] ?? 'of unknown version';
    } catch {
      await sleep(20);
    } finally {
      client.disconnect();
    }
  }
  return undefined;
}

const failure = (folder: string, text: string, file = folder) =>
  new AdderError({
    code: 'EMBEDDED_REDIS',
    message: `the private Redis did not start: ${text}`,
    where: { file },
    fix: 'set REDIS_URL to a Redis server, or ADDER_QUEUE=postgres to do without one',
  });
