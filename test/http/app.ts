import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Helper, processesNaming, scratch, until } from '../service/support/processes.js';

/** A service of its own, started from source: API, worker, inference, database and queue. */
export interface TestApp {
  address: string;
  dataDir: string;
  process: Helper;
  stop(): Promise<number | null>;
}

/** Starts the service on a free port and waits until it is ready. */
export async function startApp(env: Record<string, string> = {}, dataDir?: string): Promise<TestApp> {
  const dir = dataDir === undefined ? scratch() : undefined;
  const folder = dataDir ?? dir!.path;
  const process = Helper.start('test/http/serve.ts', [], {
    env: {
      PORT: '0',
      ADDER_DATA_DIR: folder,
      ADDER_LOG_FORMAT: 'json',
      ADDER_QUEUE: 'postgres',
      ADDER_MODEL: 'theta',
      ...env,
    },
  });
  // The worker says that it works, the API where it listens.
  let address: string | undefined;
  while (address === undefined) ({ address } = await process.next<{ address?: string }>());
  await until(async () => (await fetch(`${address}/health/ready`)).status === 200, 60_000, 'readiness');
  return {
    address,
    dataDir: folder,
    process,
    stop: async () => {
      const code = await process.kill('SIGTERM');
      dir?.remove();
      return code;
    },
  };
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** One request over a real socket; the body is sent as JSON unless it is bytes already. */
export async function call<T = Record<string, never>>(
  app: TestApp,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  const bytes = body instanceof Uint8Array || typeof body === 'string';
  const response = await fetch(app.address + path, {
    method,
    headers: {
      ...(body === undefined || 'content-type' in headers ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: (bytes ? body : JSON.stringify(body)) as string }),
  });
  const text = await response.text();
  const json = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, body: (json ? JSON.parse(text) : text) as T };
}

export const fixture = (name: string) => readFileSync(join(process.cwd(), 'test/http/fixtures', name));

/** A daily series with a weekly rhythm. */
export const weekly = (length: number, level = 100) =>
  Array.from({ length }, (_, i) => level + 10 * Math.sin((2 * Math.PI * i) / 7) + 0.1 * i);

/** Processes below another one whose command line mentions `text`. */
export const childrenOf = (parent: number, text: string): number[] =>
  processesNaming(text).filter((pid) => {
    const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
    return Number(fields!.split(' ')[1]) === parent;
  });
