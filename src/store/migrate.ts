import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { AdderError } from '../platform/errors.js';

/** The number that `prisma migrate` locks too, so that the two never run at once. */
const PRISMA_LOCK = 72_707_369;

/** As `prisma migrate` creates it. */
const LEDGER = `create table if not exists _prisma_migrations (
  id varchar(36) primary key not null,
  checksum varchar(64) not null,
  finished_at timestamptz,
  migration_name varchar(255) not null,
  logs text,
  rolled_back_at timestamptz,
  started_at timestamptz not null default now(),
  applied_steps_count integer not null default 0
)`;

interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

/**
 * Brings a database to the schema of this version, one transaction a migration, under a lock that lets any number of
 * processes start together. The ledger is Prisma's own, so `prisma migrate deploy` can take over at any time.
 * Returns the names of the migrations that it applied.
 *
 * Throws AdderErrors: `MIGRATION_CHANGED` when an applied file is not what was applied, `DATABASE_NEWER` when the database
 * knows migrations that this version does not, `MIGRATION_FAILED` when one stands half applied or fails now.
 */
export async function migrate(databaseUrl: string, migrations = readMigrations()): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [PRISMA_LOCK]);
    await client.query(LEDGER);
    const done = await applied(client, migrations);
    const names: string[] = [];
    for (const migration of migrations) {
      if (done.has(migration.name)) continue;
      await apply(client, migration);
      names.push(migration.name);
    }
    return names;
  } finally {
    // Ends the session and with it the lock.
    await client.end();
  }
}

async function applied(client: pg.Client, migrations: Migration[]): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string; checksum: string; finished: boolean }>(
    `select migration_name as name, checksum, finished_at is not null as finished
     from _prisma_migrations where rolled_back_at is null order by started_at`,
  );
  const known = new Map(migrations.map((migration) => [migration.name, migration]));
  for (const { name, checksum, finished } of rows) {
    if (!finished) {
      throw new AdderError({
        code: 'MIGRATION_FAILED',
        message: `migration ${name} began and did not finish`,
        fix: 'repair the database, then mark it with prisma migrate resolve',
      });
    }
    const migration = known.get(name);
    if (!migration) {
      throw new AdderError({
        code: 'DATABASE_NEWER',
        message: `the database has migration ${name}, which this version of Adder does not know`,
        fix: 'run the version that wrote the database, or a newer one',
      });
    }
    if (migration.checksum !== checksum) {
      throw new AdderError({
        code: 'MIGRATION_CHANGED',
        message: `migration ${name} is not the one that was applied to this database`,
        fix: 'restore prisma/migrations; a change of the schema is a new migration',
      });
    }
  }
  return new Set(rows.map(({ name }) => name));
}

async function apply(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(sql);
    await client.query(
      `insert into _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       values ($1, $2, $3, now(), clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    );
    await client.query('commit');
  } catch (cause) {
    await client.query('rollback').catch(() => {});
    throw new AdderError({
      code: 'MIGRATION_FAILED',
      message: `migration ${name} failed and was undone: ${(cause as Error).message}`,
      fix: 'see the cause; nothing of it was kept',
      cause,
    });
  }
}

/** The migrations that belong to this version, oldest first. */
export function readMigrations(folder = migrationsFolder()): Migration[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
    .map((name) => {
      const sql = readFileSync(join(folder, name, 'migration.sql'), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    });
}

/** `prisma/migrations` of the package, seen from the sources and from the compiled files alike. */
function migrationsFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'prisma', 'migrations');
    if (existsSync(candidate)) return candidate;
    if (folder === dirname(folder)) throw new Error('prisma/migrations is missing from the installation');
  }
}
