import { RequestError } from '../../platform/request-error.js';
import type { Database } from '../../store/database.js';

/** One statement refills and takes, so any number of API processes share one bucket. Returns the tokens left, or below 0. */
const TAKE = `insert into rate_buckets as b (key_id, tokens, updated_at) values ($1, $2::float8 - 1, clock_timestamp())
on conflict (key_id) do update set
  tokens = greatest(-1, least($2::float8, b.tokens + extract(epoch from clock_timestamp() - b.updated_at)::float8 * $3::float8) - 1),
  updated_at = clock_timestamp()
returning tokens`;

/** Token buckets of API keys, kept in the store. */
export class RateLimiter {
  constructor(private readonly database: Database) {}

  /** Takes one token; throws `RATE_LIMITED` with the time until there is one. */
  async take(keyId: string, { perMinute, burst }: { perMinute: number; burst: number }): Promise<void> {
    const perSecond = perMinute / 60;
    const { rows } = await this.database.pool.query<{ tokens: number }>({
      name: 'adder_take_token',
      text: TAKE,
      values: [keyId, burst, perSecond],
    });
    const left = rows[0]?.tokens ?? 0;
    if (left >= 0) return;
    throw new RequestError({
      status: 429,
      code: 'RATE_LIMITED',
      message: `this key may send ${perMinute} requests a minute, ${burst} at once`,
      fix: 'wait as long as Retry-After says',
      retryAfter: Math.max(1, -left / perSecond),
    });
  }
}
