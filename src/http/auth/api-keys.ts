import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { RequestError } from '../../platform/request-error.js';
import type { Database } from '../../store/database.js';

/** What a key may do. `admin` manages keys; the others name what they open. */
export const SCOPES = ['forecast', 'read', 'write', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** Limits of a key that differ from the configured ones. */
export interface KeyLimits {
  ratePerMinute?: number;
  rateBurst?: number;
  bodyMb?: number;
  seriesPerRequest?: number;
  pointsPerRequest?: number;
}

export interface KeyInfo {
  id: string;
  owner: string;
  name: string;
  /** The part of the key that is not secret. */
  prefix: string;
  scopes: string[];
  limits: KeyLimits;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

/** Account of requests while no key exists, and of the first key, so that what was stored before stays in reach. */
export const LOCAL_OWNER = 'local';

/** A revoked key may work this long in other processes; so long, too, is a key remembered without asking the store. */
const CACHE_MS = 2000;
const CACHE_SIZE = 10_000;

const FORM = /^adder_([a-z0-9]{10})_([A-Za-z0-9_-]{43})$/;
const hashOf = (text: string) => createHash('sha256').update(text).digest();

/** Keys as `adder_PREFIX_SECRET`; 256 random bits need no slow hash, so the store has their SHA-256 alone. */
export class ApiKeys {
  private readonly cache = new Map<string, { key: KeyInfo | undefined; until: number }>();
  private exists: { any: boolean; until: number } | undefined;

  constructor(private readonly database: Database) {}

  /** Whether any key has been created and not revoked. Once there is one, no request goes without. */
  async any(): Promise<boolean> {
    if (this.exists && (this.exists.any || this.exists.until > Date.now())) return this.exists.any;
    const { rowCount } = await this.database.pool.query('select from api_keys limit 1');
    this.exists = { any: (rowCount ?? 0) > 0, until: Date.now() + 500 };
    return this.exists.any;
  }

  /** The key of a token, or undefined when it is none, is revoked or has expired. */
  async find(token: string): Promise<KeyInfo | undefined> {
    const match = FORM.exec(token);
    if (!match) return undefined;
    const digest = hashOf(token);
    const cacheKey = digest.toString('base64');
    const cached = this.cache.get(cacheKey);
    if (cached && cached.until > Date.now()) return usable(cached.key);
    const row = await this.database.prisma.apiKey.findUnique({ where: { prefix: match[1]! } });
    const right = row !== null && timingSafeEqual(digest, Buffer.from(row.hash));
    const key = right ? infoOf(row) : undefined;
    if (this.cache.size >= CACHE_SIZE) this.cache.clear();
    this.cache.set(cacheKey, { key, until: Date.now() + CACHE_MS });
    return usable(key);
  }

  /** Creates a key and returns it with its token, which cannot be read again. */
  async create(
    owner: string,
    fields: { name: string; scopes: readonly Scope[]; limits?: KeyLimits; expiresAt?: Date | undefined },
  ): Promise<{ token: string; key: KeyInfo }> {
    const prefix = [...randomBytes(10)].map((byte) => (byte % 36).toString(36)).join('');
    const token = `adder_${prefix}_${randomBytes(32).toString('base64url')}`;
    const row = await this.database.prisma.apiKey.create({
      data: {
        id: randomUUID(),
        owner,
        name: fields.name,
        prefix,
        hash: hashOf(token),
        scopes: [...fields.scopes],
        limits: { ...fields.limits },
        expiresAt: fields.expiresAt ?? null,
      },
    });
    this.exists = { any: true, until: 0 };
    return { token, key: infoOf(row) };
  }

  async list(): Promise<KeyInfo[]> {
    const rows = await this.database.prisma.apiKey.findMany({ orderBy: { createdAt: 'asc' }, take: 10_000 });
    return rows.map(infoOf);
  }

  /** Ends a key at once in this process, within seconds in others. The row stays: a service with keys never opens again. */
  async revoke(id: string): Promise<void> {
    const { count } = await this.database.prisma.apiKey.updateMany({
      where: { id, revokedAt: null },
      data: { revokedAt: new Date() },
    });
    this.cache.clear();
    if (count === 0) {
      throw new RequestError({
        status: 404,
        code: 'UNKNOWN_KEY',
        message: 'there is no such key, or it is revoked already',
        fix: 'list them with GET /v1/keys',
      });
    }
  }
}

function usable(key: KeyInfo | undefined): KeyInfo | undefined {
  if (!key || key.revokedAt) return undefined;
  return key.expiresAt && key.expiresAt.getTime() <= Date.now() ? undefined : key;
}

function infoOf(row: Omit<KeyInfo, 'limits'> & { limits: unknown }): KeyInfo {
  const { id, owner, name, prefix, scopes, createdAt, expiresAt, revokedAt } = row;
  return { id, owner, name, prefix, scopes, limits: (row.limits ?? {}) as KeyLimits, createdAt, expiresAt, revokedAt };
}
