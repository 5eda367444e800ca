import { z } from 'zod';

/** One environment variable: how its text is checked, and what the documentation says about it. */
export interface Variable<T> {
  schema: z.ZodType<T>;
  about: string;
  /** The default as a person writes it; `undefined` for a variable that is unset by default. */
  fallback?: string;
  /** Never printed, neither in logs nor in error messages. */
  secret?: boolean;
}

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^[+-]?\d{1,15}$/, { error: `expected a whole number from ${min} to ${max}` })
    .transform(Number)
    .refine((value) => value >= min && value <= max, { error: `expected a whole number from ${min} to ${max}` });

const number = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,12}(\.\d{1,9})?$/, { error: `expected a number from ${min} to ${max}` })
    .transform(Number)
    .refine((value) => value >= min && value <= max, { error: `expected a number from ${min} to ${max}` });

const choice = <const T extends [string, ...string[]]>(...values: T) =>
  z.enum(values, { error: `expected one of ${values.join(', ')}` });

const url = (...protocols: string[]) =>
  z.string().refine(
    (text) => {
      try {
        return protocols.includes(new URL(text).protocol.slice(0, -1));
      } catch {
        return false;
      }
    },
    { error: `expected an address that begins with ${protocols.map((name) => `${name}://`).join(' or ')}` },
  );

const text = (max: number) =>
  z.string().refine((value) => value.length <= max, { error: `expected at most ${max} characters` });

const v = <T>(schema: z.ZodType<T>, fallback: string | undefined, about: string, secret = false): Variable<T> => ({
  schema,
  about,
  ...(fallback === undefined ? {} : { fallback }),
  ...(secret ? { secret } : {}),
});

/** Every environment variable that Adder reads, in the order of the documentation. */
export const VARIABLES = {
  PORT: v(integer(0, 65_535), '3000', 'TCP port of the API; 0 takes a free one'),
  HOST: v(
    text(255),
    '127.0.0.1',
    'address to listen on; anything but a loopback address needs at least one API key in the store',
  ),
  ADDER_WORKER_METRICS_PORT: v(
    integer(0, 65_535).optional(),
    undefined,
    'TCP port on which a worker answers `GET /metrics` for Prometheus, on the address of HOST; 0 takes a free one, unset: none',
  ),
  ADDER_DATA_DIR: v(
    text(4096),
    '.data',
    'folder of the embedded PostgreSQL and Redis; relative to the working directory',
  ),
  DATABASE_URL: v(
    url('postgresql', 'postgres').optional(),
    undefined,
    'PostgreSQL server to use instead of the embedded one',
    true,
  ),
  REDIS_URL: v(url('redis', 'rediss').optional(), undefined, 'Redis server that holds the queues', true),
  ADDER_QUEUE: v(
    choice('auto', 'redis', 'postgres'),
    'auto',
    'where the queues live: `redis` (REDIS_URL, or a private redis-server from the PATH), `postgres` (the database), `auto` (Redis where there is one, otherwise PostgreSQL)',
  ),
  ADDER_DB_POOL: v(integer(2, 200), '10', 'connections to PostgreSQL per process'),
  ADDER_BACKEND: v(
    choice('auto', 'webgpu', 'wasm'),
    'auto',
    'what computes: `auto` takes a real GPU where there is one, otherwise WASM SIMD',
  ),
  ADDER_MODEL: v(text(64), 'adder', 'forecaster used when a request names none'),
  ADDER_STACK: v(
    text(128),
    'limits,short',
    'what the service adds to the network (docs/quality.md): `bare`, or parts with commas between; `views,baselines,limits,short` is a little more accurate and many times slower',
  ),
  ADDER_MQTT_FILE: v(
    text(4096).optional(),
    undefined,
    'JSON file of MQTT brokers to subscribe and publish to; docs/live-doors.md lists its fields',
  ),
  ADDER_WEBHOOK_HOSTS: v(
    text(4096).optional(),
    undefined,
    "hosts in the service's own network that alerts may be sent to, comma separated; `*` allows all",
  ),
  ADDER_LIVE_MODEL: v(
    text(64),
    'auto',
    'forecaster of live series; `auto` takes `forecaster-live` where it is installed, otherwise the default one',
  ),
  ADDER_LIVE_LEASE_MS: v(
    integer(500, 600_000),
    '5000',
    'how long live series stay with a live worker that gives no sign of life before another takes them, milliseconds',
  ),
  ADDER_SPEECH_MODEL: v(
    text(4096),
    'speech-outlook',
    'what listens to audio: a speech model of `models/`, or a folder that holds one',
  ),
  ADDER_SPEECH_RESUME_MS: v(
    integer(0, 86_400_000),
    '300000',
    'how long a live speech session is kept after its connection dropped, milliseconds; 0 keeps none',
  ),
  ADDER_LOG_LEVEL: v(
    choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    'info',
    'least severe level that is logged',
  ),
  ADDER_LOG_FORMAT: v(
    choice('auto', 'json', 'text'),
    'auto',
    '`json` one object a line, `text` for people; `auto` is text on a terminal and JSON otherwise',
  ),
  ADDER_MAX_BODY_MB: v(integer(1, 1024), '256', 'largest request body after decompression, MiB'),
  ADDER_MAX_SERIES_PER_REQUEST: v(integer(1, 1_000_000), '10000', 'series in one request'),
  ADDER_MAX_POINTS_PER_REQUEST: v(
    integer(1, 100_000_000),
    '20000000',
    'observations in one request, all series together',
  ),
  ADDER_MAX_HORIZON: v(integer(1, 100_000), '4096', 'longest horizon, steps'),
  ADDER_MAX_SERIES: v(integer(1, 100_000_000), '100000', 'stored series of one owner'),
  ADDER_MAX_JOBS: v(integer(1, 1_000_000), '10000', 'unfinished jobs of one owner'),
  ADDER_RATE_PER_MINUTE: v(integer(1, 10_000_000), '6000', 'requests a minute of one API key that sets no own limit'),
  ADDER_RATE_BURST: v(
    integer(1, 1_000_000),
    '200',
    'requests that one API key may send at once before the rate applies',
  ),
  ADDER_SYNC_TIMEOUT_MS: v(
    integer(100, 600_000),
    '50000',
    'longest wait of a synchronous request for its job, milliseconds; then 503 with Retry-After',
  ),
  ADDER_WORKER_CONCURRENCY: v(integer(1, 1024), '64', 'interactive jobs that one worker process holds at a time'),
  ADDER_BATCH_JOBS: v(integer(1, 256), '2', 'batch jobs that one worker process runs at a time'),
  ADDER_BATCH_SIZE: v(integer(1, 65_536), '256', 'most series that share one inference batch'),
  ADDER_BATCH_DELAY_MS: v(
    number(0, 1000),
    '2',
    'how long a request may wait for others to share its batch, milliseconds',
  ),
  ADDER_BATCH_QUEUE: v(
    integer(1, 10_000_000),
    '20000',
    'series that may wait for inference in one worker; beyond it requests are refused with Retry-After',
  ),
  ADDER_INFERENCE_TIMEOUT_MS: v(
    integer(1000, 3_600_000),
    '120000',
    'longest time one inference batch may take before its process is restarted, milliseconds',
  ),
  ADDER_INFERENCE_RESTARTS: v(
    integer(0, 100),
    '3',
    'times a batch is tried again after its inference process died, before its requests fail',
  ),
  ADDER_LOCK_MS: v(
    integer(1000, 600_000),
    '30000',
    'how long a job stays with a worker that no longer answers before another takes it, milliseconds',
  ),
  ADDER_SHUTDOWN_MS: v(
    integer(0, 600_000),
    '20000',
    'how long a stopping process lets running work finish, milliseconds',
  ),
  ADDER_JOB_RETENTION_HOURS: v(number(0, 100_000), '168', 'how long finished jobs and their results are kept, hours'),
  ADDER_WEBGPU: v(
    choice('hardware', 'software', 'any', 'off').optional(),
    undefined,
    'WebGPU adapter: `hardware` only a real GPU (the default), `software` only one that runs on the CPU, `any`, `off`',
  ),
  ADDER_DAWN_FEATURES: v(
    text(4096).optional(),
    undefined,
    'toggles passed to Dawn, comma separated; for finding driver faults',
  ),
  ADDER_THREADS: v(
    integer(1, 1024).optional(),
    undefined,
    'threads of the WebAssembly backend; all cores by default, live speech one less',
  ),
  ADDER_SPEECH_DATA: v(text(4096).optional(), undefined, 'folder of speech recordings, for tests and benchmarks only'),
  ADDER_TURN_MODEL: v(text(4096).optional(), undefined, 'turn model, or its folder, for the audio benchmark only'),
  ADDER_PEERS_DIR: v(text(4096).optional(), undefined, 'folder of installed peers, for the audio benchmark only'),
  ADDER_COMMIT: v(
    text(64).optional(),
    undefined,
    'commit that benchmark results are recorded under where there is no git',
  ),
  ADDER_DEBUG: v(text(16).optional(), undefined, '`1` prints the stack of unexpected failures'),
} satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof VARIABLES;
