import { createHmac } from 'node:crypto';
import { lookup } from 'node:dns';
import { request as http } from 'node:http';
import { request as https } from 'node:https';
import type { LookupFunction } from 'node:net';
import { BlockList, isIP } from 'node:net';
import { AdderError, quote } from '../../../platform/errors.js';

/** Longest time of one attempt. */
const TIMEOUT_MS = 10_000;

/** Addresses that lead into one's own network; an account could reach through us what it cannot reach itself. */
const PRIVATE = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  PRIVATE.addSubnet(network, bits, 'ipv4');
}
for (const [network, bits] of [
  ['::', 128],
  ['::1', 128],
  ['64:ff9b::', 96],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE.addSubnet(network, bits, 'ipv6');
}

/** Hosts that may be called although they lie in one's own network; `*` allows all. */
export type AllowedHosts = readonly string[];

const isPrivate = (address: string) => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const plain = mapped ?? address;
  return PRIVATE.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
};

/**
 * Signs and sends one message after the Standard Webhooks specification (https://www.standardwebhooks.com): headers
 * `webhook-id`, `webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over `id.timestamp.body`. Resolves on a 2xx;
 * redirects are not followed. Throws AdderErrors: `WEBHOOK_REFUSED`, `WEBHOOK_FAILED`.
 */
export async function sendWebhook(
  url: string,
  secret: string,
  message: { id: string; body: string; at: Date },
  allowed: AllowedHosts,
): Promise<void> {
  const target = new URL(url);
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const free = allowed.includes('*') || allowed.includes(host);
  if (!free && isIP(host) && isPrivate(host)) throw refused(host);
  const timestamp = Math.floor(message.at.getTime() / 1000);
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signature = createHmac('sha256', key).update(`${message.id}.${timestamp}.${message.body}`).digest('base64');
  // The address is checked where it is used, so that a name cannot change its meaning in between.
  const checkedLookup: LookupFunction = (name, options, done) => {
    lookup(name, { ...options, all: true }, (error, addresses) => {
      if (error) return done(error, '', 0);
      const bad = free ? undefined : addresses.find(({ address }) => isPrivate(address));
      if (bad) return done(refused(`${name} (${bad.address})`), '', 0);
      if (options.all) return done(null, addresses);
      return done(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
  await new Promise<void>((resolve, reject) => {
    const request = (target.protocol === 'https:' ? https : http)(target, {
      method: 'POST',
      lookup: checkedLookup,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      agent: false,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(message.body),
        'user-agent': 'Adder',
        'webhook-id': message.id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': `v1,${signature}`,
      },
    });
    request.on('response', (response) => {
      response.destroy();
      const { statusCode = 0 } = response;
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(failed(`the receiver answered ${statusCode}`));
    });
    request.on('error', (error) => reject(error instanceof AdderError ? error : failed(error.message, error)));
    request.end(message.body);
  });
}

const refused = (host: string) =>
  new AdderError({
    code: 'WEBHOOK_REFUSED',
    message: `${quote(host, 100)} lies in the service's own network`,
    fix: 'the operator can allow the host with ADDER_WEBHOOK_HOSTS',
  });

const failed = (message: string, cause?: unknown) =>
  new AdderError({ code: 'WEBHOOK_FAILED', message, fix: 'it is tried again', ...(cause ? { cause } : {}) });
