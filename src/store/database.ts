import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.js';
import { AdderError } from '../platform/errors.js';
import { migrate } from './migrate.js';

/** PostgreSQL's numbers of the types that we read by other parsers than node-postgres' defaults. */
const INT8 = 20;

/** 64-bit integers as bigint, as Prisma gives them too; everything else as node-postgres does. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: string) =>
    oid === INT8 && format !== 'binary' ? BigInt : pg.types.getTypeParser(oid, format as 'text'),
};

export interface DatabaseOptions {
  url: string;
  /** Connections of this process. */
  poolSize?: number;
  /** How long a query may wait for a free connection, milliseconds; then `DATABASE_BUSY`. */
  acquireTimeoutMs?: number;
  /** Told about failures of idle connections, which have no caller. */
  onError?: (error: Error) => void;
}

/** The connections of one process to the store: Prisma for typed access, node-postgres for what is hot; one pool. */
export class Database {
  private constructor(
    readonly url: string,
    readonly pool: pg.Pool,
    readonly prisma: PrismaClient,
  ) {}

  /**
   * Connects and brings the schema up to date.
   * Throws AdderErrors: `DATABASE_UNREACHABLE`, and those of `migrate`.
   */
  static async open(options: DatabaseOptions): Promise<Database> {
    try {
      await migrate(options.url);
    } catch (error) {
      throw error instanceof AdderError ? error : unreachable(error as Error);
    }
    const pool = new pg.Pool({
      connectionString: options.url,
      max: options.poolSize ?? 10,
      connectionTimeoutMillis: options.acquireTimeoutMs ?? 10_000,
      keepAlive: true,
      application_name: 'adder',
      types,
    });
    // A connection that breaks while idle is replaced; without a listener it would end the process.
    pool.on('error', (error) => {
      // The pool hangs the whole connection on it, which no log needs.
      delete (error as { client?: unknown }).client;
      options.onError?.(error);
    });
    // So would one that breaks between two queries of a transaction; its next query fails, and the pool drops it.
    pool.on('connect', (client) => client.on('error', () => {}));
    return new Database(options.url, pool, new PrismaClient({ adapter: new PrismaPg(pool) }));
  }

  /**
   * Runs `work` in one transaction: committed when it resolves, undone when it throws. One that is not `durable` is visible
   * at once but not waited for on its way to the disk: a crash of PostgreSQL may lose it, whole, within a fraction of a second.
   */
  async transaction<T>(work: (client: pg.PoolClient) => Promise<T>, { durable = true } = {}): Promise<T> {
    const client = await this.pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(durable ? 'begin' : 'begin; set local synchronous_commit = off');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch((failure: Error) => {
        broken = failure;
      });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async close(): Promise<void> {
    await this.prisma.$disconnect();
    await this.pool.end();
  }
}

/** What runs SQL: the pool, or the connection of a transaction. */
export type Queryable = Pick<pg.PoolClient, 'query'>;

function unreachable(cause: Error): AdderError {
  return new AdderError({
    code: 'DATABASE_UNREACHABLE',
    message: `the database does not answer: ${cause.message || (cause as NodeJS.ErrnoException).code}`,
    where: { field: 'DATABASE_URL' },
    fix: 'check that the server runs, and that DATABASE_URL has the right host, user and password',
    cause,
  });
}
