import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { migrate, readMigrations } from '../../src/store/migrate.js';
import { type TestDatabase, testDatabase } from './support/database.js';

describe('migrations', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await testDatabase();
  });
  afterAll(() => test.close());

  /** A database of its own, without any table. */
  async function empty(name: string): Promise<string> {
    await test.database.pool.query(`create database ${name}`);
    const url = new URL(test.server.url);
    url.pathname = `/${name}`;
    return url.href;
  }
  async function rows(url: string, sql: string): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  it('are applied once, also by processes that start together', async () => {
    const url = await empty('together');
    const applied = await Promise.all([migrate(url), migrate(url), migrate(url), migrate(url)]);
    const names = readMigrations().map(({ name }) => name);
    expect(applied.flat()).toEqual(names);
    expect(await migrate(url)).toEqual([]);
    expect(await rows(url, 'select migration_name from _prisma_migrations order by 1')).toEqual(
      names.map((migration_name) => ({ migration_name })),
    );
  });

  it('lead to schema.prisma: the official engine finds nothing to add', async () => {
    const { pendingSql } = await import('../../prisma/engine.mjs');
    expect(await pendingSql()).toBe('');
  });

  it('leave a database that the official engine takes for its own', async () => {
    const { diagnose } = await import('../../prisma/engine.mjs');
    const url = await empty('official');
    await migrate(url);
    const found = await diagnose(new PrismaPg({ connectionString: url }));
    expect(found).toMatchObject({
      failedMigrationNames: [],
      editedMigrationNames: [],
      hasMigrationsTable: true,
      history: null,
    });
  });

  it('are refused when an applied one was edited', async () => {
    const url = await empty('edited');
    await migrate(url);
    const [first, ...rest] = readMigrations();
    const edited = [{ ...first!, checksum: 'f'.repeat(64) }, ...rest];
    await expect(migrate(url, edited)).rejects.toMatchObject({ code: 'MIGRATION_CHANGED' });
  });

  it('are refused when the database is newer than the program', async () => {
    const url = await empty('newer');
    await migrate(url);
    await expect(migrate(url, [])).rejects.toMatchObject({ code: 'DATABASE_NEWER' });
  });

  it('are undone whole when a statement fails, and can then be repeated', async () => {
    const url = await empty('failing');
    const bad = { name: '1_bad', sql: 'create table half (n int); select 1/0;', checksum: '0'.repeat(64) };
    await expect(migrate(url, [bad])).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('division by zero'),
    });
    expect(await rows(url, "select to_regclass('half') as half")).toEqual([{ half: null }]);
    expect(await migrate(url, [{ ...bad, sql: 'create table half (n int)' }])).toEqual(['1_bad']);
  });
});
