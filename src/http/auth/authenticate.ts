import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { Config } from '../../platform/config.js';
import { RequestError } from '../../platform/request-error.js';
import type { ApiKeys } from './api-keys.js';
import { type Caller, callerOf } from './caller.js';
import type { RateLimiter } from './rate-limit.js';

/** A request as far as it says who sends it. */
type Headed = Pick<FastifyRequest, 'headers'>;

/**
 * Who a request comes from, decided before its body is read. With keys: the bearer of one. While none exists: anybody on
 * this machine, but not a page of another origin in a browser on it, nor a name that was made to point here.
 */
export class Authenticator {
  constructor(
    private readonly keys: ApiKeys,
    private readonly rate: RateLimiter,
    private readonly config: Pick<Config, 'limits'>,
  ) {}

  async authenticate(request: Headed): Promise<Caller> {
    const token = tokenOf(request);
    if (!(await this.keys.any())) {
      refuseStrangers(request);
      return callerOf(undefined, this.config);
    }
    const key = token === undefined ? undefined : await this.keys.find(token);
    if (!key) {
      throw new RequestError({
        status: 401,
        code: 'UNAUTHENTICATED',
        message: token === undefined ? 'an API key is needed' : 'Invalid API key',
        fix: 'send Authorization: Bearer KEY with a key that is neither revoked nor expired',
      });
    }
    await this.rate.take(key.id, {
      perMinute: key.limits.ratePerMinute ?? this.config.limits.ratePerMinute,
      burst: key.limits.rateBurst ?? this.config.limits.rateBurst,
    });
    return callerOf(key, this.config);
  }
}

/**
 * The token of the Authorization header, as bearer, as InfluxDB's `Token`, or as the password of Basic; or of X-Api-Key.
 * Never from the query: addresses end up in logs.
 */
export function tokenOf(request: Headed): string | undefined {
  const [, scheme, token] = /^(Bearer|Token|Basic)\s+(\S+)\s*$/i.exec(request.headers.authorization ?? '') ?? [];
  if (scheme?.toLowerCase() === 'basic') {
    const pair = Buffer.from(token!, 'base64').toString('utf8');
    return pair.slice(pair.indexOf(':') + 1);
  }
  const header = request.headers['x-api-key'];
  return token ?? (typeof header === 'string' ? header : undefined);
}

function refuseStrangers(request: Headed): void {
  const host = nameOf(request.headers.host ?? '');
  const origin = request.headers.origin;
  const site = request.headers['sec-fetch-site'];
  const foreign =
    (origin !== undefined &&
      origin !== `http://${request.headers.host}` &&
      origin !== `https://${request.headers.host}`) ||
    site === 'cross-site';
  if (isLoopback(host) && !foreign) return;
  throw new RequestError({
    status: 403,
    code: 'FORBIDDEN',
    message: 'without API keys this service answers this machine only',
    where: { field: isLoopback(host) ? 'origin' : 'host' },
    fix: 'create a key with POST /v1/keys, or call it as http://127.0.0.1',
  });
}

const nameOf = (host: string) =>
  host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();

/** Addresses and names that never leave the machine. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}
