import { isAbsolute, resolve } from 'node:path';
import type { z } from 'zod';
import { nearest } from '../commands/command.js';
import { VARIABLES, type Variable, type VariableName } from './config-variables.js';
import { AdderError, quote } from './errors.js';

/** The checked environment under its own names, defaults filled in. */
export type Environment = { [K in VariableName]: z.output<(typeof VARIABLES)[K]['schema']> };

const names = Object.keys(VARIABLES) as VariableName[];

/**
 * Reads and checks every variable. An empty value counts as unset, so that compose files can pass variables through.
 * Throws one AdderError (`BAD_CONFIGURATION`) that names every wrong variable; an unknown `ADDER_…` variable is wrong too,
 * because a misspelt limit that is silently ignored is worse than a start that fails.
 */
export function readEnvironment(env: Record<string, string | undefined>): Environment {
  const problems: { name: string; text: string }[] = [];
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const variable: Variable<unknown> = VARIABLES[name];
    const raw = env[name]?.trim() || variable.fallback;
    const result = variable.schema.safeParse(raw);
    if (result.success) values[name] = result.data;
    else {
      const got = variable.secret ? '' : `, got ${quote(raw ?? '')}`;
      problems.push({ name, text: `${name}: ${result.error.issues[0]?.message ?? 'not valid'}${got}` });
    }
  }
  for (const name of Object.keys(env)) {
    if (!name.startsWith('ADDER_') || Object.hasOwn(VARIABLES, name)) continue;
    const near = nearest(name, names);
    problems.push({ name, text: `${name} is not a variable of Adder${near ? `; did you mean ${near}?` : ''}` });
  }
  if (problems.length > 0) {
    throw new AdderError({
      code: 'BAD_CONFIGURATION',
      message: problems.map(({ text }) => text).join(' · '),
      where: { field: problems.map(({ name }) => name).join(', ') },
      fix: 'correct the environment; docs/configuration.md lists every variable',
    });
  }
  return values as Environment;
}

/** Where the queues shall live; `auto` is settled when the services start. */
export type QueueChoice = 'auto' | 'redis' | 'postgres';

/** The configuration of one process, grouped by who reads it. Durations in milliseconds, sizes in bytes. */
export interface Config {
  server: {
    port: number;
    host: string;
    /** Of a worker's metrics; none where undefined. */
    workerMetricsPort: number | undefined;
    syncTimeoutMs: number;
    shutdownMs: number;
  };
  /** Absolute path. */
  dataDir: string;
  databaseUrl: string | undefined;
  databasePool: number;
  redisUrl: string | undefined;
  queue: QueueChoice;
  log: { level: Environment['ADDER_LOG_LEVEL']; format: Environment['ADDER_LOG_FORMAT'] };
  model: string;
  /** Parts of the inference stack that the service puts on the network, as parseStack reads them. */
  stack: string;
  backend: Environment['ADDER_BACKEND'];
  live: { mqttFile: string | undefined; webhookHosts: string[]; model: string; leaseMs: number };
  /** What listens, and how long a session that was dropped can be resumed. */
  speech: { model: string; resumeMs: number };
  limits: {
    bodyBytes: number;
    seriesPerRequest: number;
    pointsPerRequest: number;
    horizon: number;
    storedSeries: number;
    unfinishedJobs: number;
    ratePerMinute: number;
    rateBurst: number;
  };
  jobs: { interactiveConcurrency: number; batchConcurrency: number; lockMs: number; retentionMs: number };
  inference: { batchSize: number; batchDelayMs: number; queueSize: number; timeoutMs: number; restarts: number };
}

/** The configuration from an environment (by default the process's); throws as `readEnvironment` does. */
export function loadConfig(env: Record<string, string | undefined> = process.env): Config {
  const e = readEnvironment(env);
  if (e.ADDER_QUEUE === 'postgres' && e.REDIS_URL) {
    throw new AdderError({
      code: 'BAD_CONFIGURATION',
      message: 'REDIS_URL is set, but ADDER_QUEUE=postgres keeps the queues in PostgreSQL',
      where: { field: 'ADDER_QUEUE, REDIS_URL' },
      fix: 'remove one of the two',
    });
  }
  return {
    server: {
      port: e.PORT,
      host: e.HOST,
      workerMetricsPort: e.ADDER_WORKER_METRICS_PORT,
      syncTimeoutMs: e.ADDER_SYNC_TIMEOUT_MS,
      shutdownMs: e.ADDER_SHUTDOWN_MS,
    },
    dataDir: isAbsolute(e.ADDER_DATA_DIR) ? e.ADDER_DATA_DIR : resolve(e.ADDER_DATA_DIR),
    databaseUrl: e.DATABASE_URL,
    databasePool: e.ADDER_DB_POOL,
    redisUrl: e.REDIS_URL,
    queue: e.ADDER_QUEUE,
    log: { level: e.ADDER_LOG_LEVEL, format: e.ADDER_LOG_FORMAT },
    model: e.ADDER_MODEL,
    stack: e.ADDER_STACK,
    backend: e.ADDER_BACKEND,
    live: {
      mqttFile: e.ADDER_MQTT_FILE,
      webhookHosts: e.ADDER_WEBHOOK_HOSTS?.split(',').map((host) => host.trim()) ?? [],
      model: e.ADDER_LIVE_MODEL,
      leaseMs: e.ADDER_LIVE_LEASE_MS,
    },
    speech: { model: e.ADDER_SPEECH_MODEL, resumeMs: e.ADDER_SPEECH_RESUME_MS },
    limits: {
      bodyBytes: e.ADDER_MAX_BODY_MB * 2 ** 20,
      seriesPerRequest: e.ADDER_MAX_SERIES_PER_REQUEST,
      pointsPerRequest: e.ADDER_MAX_POINTS_PER_REQUEST,
      horizon: e.ADDER_MAX_HORIZON,
      storedSeries: e.ADDER_MAX_SERIES,
      unfinishedJobs: e.ADDER_MAX_JOBS,
      ratePerMinute: e.ADDER_RATE_PER_MINUTE,
      rateBurst: e.ADDER_RATE_BURST,
    },
    jobs: {
      interactiveConcurrency: e.ADDER_WORKER_CONCURRENCY,
      batchConcurrency: e.ADDER_BATCH_JOBS,
      lockMs: e.ADDER_LOCK_MS,
      retentionMs: e.ADDER_JOB_RETENTION_HOURS * 3_600_000,
    },
    inference: {
      batchSize: e.ADDER_BATCH_SIZE,
      batchDelayMs: e.ADDER_BATCH_DELAY_MS,
      queueSize: e.ADDER_BATCH_QUEUE,
      timeoutMs: e.ADDER_INFERENCE_TIMEOUT_MS,
      restarts: e.ADDER_INFERENCE_RESTARTS,
    },
  };
}

/** The rows of the table in docs/configuration.md; a test keeps the file equal to this. */
export function configurationTable(): string {
  const rows = names.map((name) => {
    const variable: Variable<unknown> = VARIABLES[name];
    const fallback = variable.fallback === undefined ? 'unset' : `\`${variable.fallback}\``;
    return `| \`${name}\` | ${fallback} | ${variable.about}${variable.secret ? ' (secret: never logged)' : ''} |`;
  });
  return ['| variable | default | meaning |', '|---|---|---|', ...rows].join('\n');
}
