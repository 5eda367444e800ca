import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The embedded servers of a data folder as they are now; undefined where there is none. */
export function processPids(dataDir: string): { postgres: number | undefined; redis: number | undefined } {
  const first = (path: string) => {
    const file = join(dataDir, path);
    const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0;
    return pid > 0 ? pid : undefined;
  };
  return { postgres: first('postgres/postmaster.pid'), redis: first('redis/redis.pid') };
}
