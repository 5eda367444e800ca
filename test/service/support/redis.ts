import { findRedisServer } from '../../../src/platform/embedded/redis.js';

let answer: boolean | undefined;

/**
 * Whether tests can use a real Redis. Without one they are skipped, and say so; in CI that would hide half of the
 * contract, so there it is an error.
 */
export function redisHere(): boolean {
  if (answer !== undefined) return answer;
  answer = findRedisServer() !== undefined;
  if (!answer) {
    const text = 'no redis-server on the PATH: tests on Redis are skipped (Debian: apt-get install redis-server)';
    if (process.env.CI === 'true') throw new Error(text);
    process.stderr.write(`\n  !! ${text}\n\n`);
  }
  return answer;
}
