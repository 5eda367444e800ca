/** `npm run bench -- service [--only clients,postgres,nixtla,points,queue]`: the service from the outside, and its parts. */

import { findRedisServer } from '../../src/platform/embedded/redis.js';
import { AdderError } from '../../src/platform/errors.js';
import type { SuiteOptions } from '../main.js';
import { publish, type Row, report } from '../measure.js';
import { clientRows, nixtlaRows } from './http.js';
import { pointRows } from './points.js';
import { queueRows } from './queue.js';

export async function run({ out, backend, only }: SuiteOptions): Promise<void> {
  if (!findRedisServer()) {
    throw new AdderError({
      code: 'NO_REDIS',
      message: 'the service is measured on Redis, and no redis-server is on the PATH',
      fix: 'install redis-server (Debian: apt-get install redis-server)',
    });
  }
  const parts: Record<string, () => Promise<Row[]>> = {
    clients: () => clientRows('redis', backend),
    postgres: () => clientRows('postgres', backend, { rounds: 1 }),
    nixtla: () => nixtlaRows(backend),
    points: () => pointRows(),
    queue: async () => [...(await queueRows('redis')), ...(await queueRows('postgres'))],
  };
  const unknown = only?.find((name) => !Object.hasOwn(parts, name));
  if (unknown !== undefined) {
    throw new AdderError({
      code: 'UNKNOWN_BENCHMARK',
      message: `unknown part ${JSON.stringify(unknown)}`,
      fix: `name some of ${Object.keys(parts).join(', ')}`,
    });
  }
  const rows: Row[] = [];
  for (const name of only ?? Object.keys(parts)) rows.push(...(await parts[name]!()));
  const device = `model adder on ${backend ?? 'what ADDER_BACKEND=auto takes'}; clients, API, worker, Redis and PostgreSQL on one machine`;
  publish(report('service', device, rows), out);
}
