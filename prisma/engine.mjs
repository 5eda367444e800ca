/**
 * Prisma's schema engine as WebAssembly, on a database of its own inside this process (PGlite): the official engine
 * without a download. Used to write migrations and to prove that they agree with the schema.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PGlite } from '@electric-sql/pglite';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import * as glue from '@prisma/schema-engine-wasm/schema_engine_bg';
import { PrismaPGlite } from 'pglite-prisma-adapter';

const here = dirname(fileURLToPath(import.meta.url));
export const migrationsFolder = join(here, 'migrations');
const schema = { path: join(here, 'schema.prisma'), content: readFileSync(join(here, 'schema.prisma'), 'utf8') };
const filters = { externalTables: [], externalEnums: [] };

/** The committed migrations in the form that the engine takes. */
export function migrationsList() {
  const names = readdirSync(migrationsFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  return {
    baseDir: migrationsFolder,
    lockfile: {
      path: './migration_lock.toml',
      content: readFileSync(join(migrationsFolder, 'migration_lock.toml'), 'utf8'),
    },
    shadowDbInitScript: '',
    migrationDirectories: names.map((name) => ({
      path: name,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok', value: readFileSync(join(migrationsFolder, name, 'migration.sql'), 'utf8') },
      },
    })),
  };
}

let ready;
async function loadEngine() {
  ready ??= (async () => {
    const folder = dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg'));
    const bytes = readFileSync(join(folder, 'schema_engine_bg.wasm'));
    const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue });
    glue.__wbg_set_wasm(instance.exports);
    instance.exports.__wbindgen_start();
  })();
  await ready;
}

/** An engine on a database; by default on an empty one that lives as long as `work` runs. */
export async function withEngine(work, adapter) {
  await loadEngine();
  const database = adapter ? undefined : new PGlite();
  const factory = bindMigrationAwareSqlAdapterFactory(adapter ?? new PrismaPGlite(database));
  const engine = await glue.SchemaEngine.new({ datamodels: [[schema.path, schema.content]] }, () => {}, factory);
  try {
    return await work(engine);
  } finally {
    await database?.close();
  }
}

/** The SQL that leads from the committed migrations to schema.prisma; empty when they agree. */
export async function pendingSql() {
  const target = { tag: 'schemaDatamodel', files: [schema] };
  const list = migrationsList();
  const from = list.migrationDirectories.length === 0 ? { tag: 'empty' } : { tag: 'migrations', ...list };
  const { exitCode, stdout } = await withEngine((engine) =>
    engine.diff({ from, to: target, script: true, exitCode: true, filters }),
  );
  return exitCode === 2 ? stdout : '';
}

/** What the engine would still do to a database, through an adapter of its driver. */
export async function diagnose(adapter) {
  return withEngine(
    (engine) =>
      engine.diagnoseMigrationHistory({ migrationsList: migrationsList(), optInToShadowDatabase: false, filters }),
    adapter,
  );
}
