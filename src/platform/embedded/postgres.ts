import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { AdderError } from '../errors.js';
import { freePort, Guarded, isAlive, Kept, runsProgram, sleep, waitGone } from './guardian.js';
import { becomeOwner, livingOwner, withLock } from './owner.js';
import { type Launcher, postgresLauncher } from './postgres-binaries.js';

const USER = 'adder';
const DATABASE = 'adder';
const START_MS = 120_000;
const STOP_MS = 20_000;

/** A server that ends so often before its first answer is not going to start. */
const FUTILE_STARTS = 3;

export interface EmbeddedServer {
  /** With the password in it: never log this. */
  url: string;
  /** For the start-up log. */
  description: string;
  /** Process id of the server at its start. */
  pid: number;
  /** Stops the server if this process answers for it; a server that another living process started goes on. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL of a data folder, or joins the one that already runs there, and returns once it answers a query
 * (its port opens before crash recovery ends). If it dies it is started again on the same port. A server left over by a process that died is taken over.
 * Throws AdderErrors (`EMBEDDED_POSTGRES`, `DATA_DIR_BUSY`).
 *
 * @param dataDir absolute; files go to `postgres/` in it
 */
export async function startPostgres(dataDir: string): Promise<EmbeddedServer> {
  mkdirSync(dataDir, { recursive: true });
  return withLock(join(dataDir, 'postgres.lock'), async () => {
    const folder = join(dataDir, 'postgres');
    const note = join(dataDir, 'postgres.owner');
    const password = readPassword(join(dataDir, 'postgres.secret'));
    for (const end = Date.now() + START_MS; ; ) {
      const running = readPidFile(folder);
      if (running && !runsProgram(running.pid, /postgres/)) {
        // Left by a crash. PostgreSQL takes the number for a running server if any process has it now.
        rmSync(join(folder, 'postmaster.pid'), { force: true });
      } else if (running && running.port === 0 && Date.now() < end) {
        await sleep(50);
        continue;
      } else if (running) {
        const version = await connectable(running.port, password, () => isAlive(running.pid), end);
        if (version) return joinRunning(folder, note, running, password, version);
        // It was on its way down.
        continue;
      }
      return start(dataDir, folder, note, password, end);
    }
  });
}

async function start(
  dataDir: string,
  folder: string,
  note: string,
  password: string,
  end: number,
): Promise<EmbeddedServer> {
  const launcher = await postgresLauncher(join(dataDir, 'postgres-lib'));
  if (existsSync(join(folder, 'PG_VERSION'))) checkVersion(folder, launcher);
  else initialise(dataDir, folder, password, launcher);
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    shared_buffers: '128MB',
    max_connections: '200',
    max_wal_size: '2GB',
    // Statements that fail are reported to their caller; the log holds what concerns the server.
    log_min_messages: 'log',
    log_checkpoints: 'off',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = join(dataDir, 'postgres.log');
  const [command, wrapped] = launcher.wrap(launcher.program('postgres'), ['-D', folder, '-p', String(port), ...args]);
  becomeOwner(note);
  const server = new Kept(() =>
    Guarded.start(command, wrapped, {
      stopSignal: 'INT',
      logFile: log,
      env: launcher.env,
      ...(launcher.uid === undefined ? {} : { uid: launcher.uid, gid: launcher.gid }),
    }),
  );
  const version = await connectable(port, password, () => server.failures < FUTILE_STARTS, end);
  if (!version) {
    const said = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join(' / ');
    await server.stop(STOP_MS);
    throw new AdderError({
      code: 'EMBEDDED_POSTGRES',
      message: `the embedded PostgreSQL did not start: ${said || 'no output'}`,
      where: { file: log },
      fix: 'see its log, or set DATABASE_URL to a PostgreSQL server',
    });
  }
  await createDatabase(port, password);
  const pidNow = () => readPidFile(folder)?.pid ?? 0;
  return {
    url: urlOf(port, password),
    description: `PostgreSQL ${version}, embedded in ${folder} (port ${port}, process ${pidNow()})`,
    pid: pidNow(),
    stop: async () => {
      if (!(await server.stop(STOP_MS)) && pidNow() > 0) process.kill(pidNow(), 'SIGQUIT');
      rmSync(note, { force: true });
    },
  };
}

/** A server that runs already: its owner stops it, and if that one is gone, we do. */
async function joinRunning(
  folder: string,
  note: string,
  { pid, port }: { pid: number; port: number },
  password: string,
  version: string,
): Promise<EmbeddedServer> {
  const owner = livingOwner(note);
  if (owner === undefined) becomeOwner(note);
  await createDatabase(port, password);
  return {
    url: urlOf(port, password),
    description: `PostgreSQL ${version}, embedded in ${folder} (port ${port}, process ${pid}, ${owner === undefined ? 'taken over' : `shared with process ${owner}`})`,
    pid,
    stop: async () => {
      if (owner !== undefined) return;
      if (isAlive(pid)) process.kill(pid, 'SIGINT');
      if (!(await waitGone(pid, STOP_MS))) process.kill(pid, 'SIGQUIT');
      rmSync(note, { force: true });
    },
  };
}

/** Makes the cluster under another name and renames it, so that a start cut short leaves nothing that looks complete. */
function initialise(dataDir: string, folder: string, password: string, launcher: Launcher): void {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith('postgres.new-')) rmSync(join(dataDir, name), { recursive: true, force: true });
  }
  const fresh = join(dataDir, `postgres.new-${process.pid}`);
  const passwordFile = `${fresh}.pw`;
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (launcher.uid !== undefined) {
    chownSync(fresh, launcher.uid, launcher.gid ?? launcher.uid);
    chownSync(passwordFile, launcher.uid, launcher.gid ?? launcher.uid);
  }
  const args = [
    '-D',
    fresh,
    '-U',
    USER,
    '-A',
    'scram-sha-256',
    `--pwfile=${passwordFile}`,
    '-E',
    'UTF8',
    '--no-locale',
  ];
  const [command, wrapped] = launcher.wrap(launcher.program('initdb'), args);
  const result = spawnSync(command, wrapped, {
    env: { ...process.env, ...launcher.env },
    encoding: 'utf8',
    ...(launcher.uid === undefined ? {} : { uid: launcher.uid, gid: launcher.gid }),
  });
  rmSync(passwordFile, { force: true });
  if (result.status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    const said = (result.stderr || result.error?.message || 'no output').trim().split('\n').slice(-4).join(' / ');
    throw new AdderError({
      code: 'EMBEDDED_POSTGRES',
      message: `the embedded PostgreSQL could not be set up: ${said}`,
      where: { file: folder },
      fix:
        launcher.uid === undefined
          ? 'set DATABASE_URL to a PostgreSQL server'
          : 'root may not make user namespaces here and user nobody cannot enter this folder: move ADDER_DATA_DIR and the installation out of private folders, run as an ordinary user, or set DATABASE_URL',
    });
  }
  renameSync(fresh, folder);
}

function checkVersion(folder: string, launcher: Launcher): void {
  const found = readFileSync(join(folder, 'PG_VERSION'), 'utf8').trim();
  if (found === launcher.major) return;
  throw new AdderError({
    code: 'EMBEDDED_POSTGRES',
    message: `the data in this folder belongs to PostgreSQL ${found}, the embedded one is ${launcher.major}`,
    where: { file: folder },
    fix: `move the data with pg_dump of version ${found}, or choose a new ADDER_DATA_DIR`,
  });
}

const urlOf = (port: number, password: string, database = DATABASE) =>
  `postgresql://${USER}:${password}@127.0.0.1:${port}/${database}`;

/** Polls with a real query; the server's version once it answers, undefined when it ends before. */
async function connectable(
  port: number,
  password: string,
  alive: () => boolean,
  end: number,
): Promise<string | undefined> {
  for (let wait = 10; ; wait = Math.min(wait * 1.5, 250)) {
    const client = new pg.Client({
      connectionString: urlOf(port, password, 'postgres'),
      connectionTimeoutMillis: 5000,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      const { rows } = await client.query<{ server_version: string }>('show server_version');
      return rows[0]?.server_version;
    } catch (error) {
      const { code } = error as { code?: string };
      if (!alive()) return undefined;
      const transient = code === '57P03' || code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === '57P01';
      if (Date.now() > end || (code && !transient)) {
        throw new AdderError({
          code: 'EMBEDDED_POSTGRES',
          message: `the embedded PostgreSQL on port ${port} does not answer: ${(error as Error).message}`,
          fix: 'stop the PostgreSQL of this data folder, or choose another ADDER_DATA_DIR',
          cause: error,
        });
      }
    } finally {
      await client.end().catch(() => {});
    }
    await sleep(wait);
  }
}

async function createDatabase(port: number, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf(port, password, 'postgres') });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (!rowCount) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** The password that belongs to this data folder, made at the first start; other users of the machine cannot read it. */
function readPassword(path: string): string {
  if (!existsSync(path)) writeFileSync(path, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' });
  return readFileSync(path, 'utf8').trim();
}

/** Process and port of the server of this folder; the port is 0 while it is still being written. */
function readPidFile(folder: string): { pid: number; port: number } | undefined {
  try {
    const lines = readFileSync(join(folder, 'postmaster.pid'), 'utf8').split('\n');
    const [pid, port] = [Number(lines[0]), Number(lines[3])];
    return pid > 0 ? { pid, port: port > 0 ? port : 0 } : undefined;
  } catch {
    return undefined;
  }
}
