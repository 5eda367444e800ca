import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { configurationTable, loadConfig } from './config.js';
import { VARIABLES } from './config-variables.js';
import { AdderError } from './errors.js';

const refused = (env: Record<string, string>): AdderError => {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof AdderError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
};

/** Every file of ours that may read the environment. */
function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.(ts|mjs)$/.test(entry.name) && !entry.name.endsWith('.spec.ts')) yield path;
  }
}

describe('configuration', () => {
  it('needs no variable at all', () => {
    const config = loadConfig({});
    expect(config.server).toEqual({ port: 3000, host: '127.0.0.1', syncTimeoutMs: 50_000, shutdownMs: 20_000 });
    expect(config.queue).toBe('auto');
    expect(config.databaseUrl).toBeUndefined();
    expect(config.dataDir).toBe(join(process.cwd(), '.data'));
  });

  it('reads numbers, choices and addresses', () => {
    const config = loadConfig({
      PORT: ' 0 ',
      ADDER_BATCH_DELAY_MS: '2.5',
      ADDER_QUEUE: 'redis',
      REDIS_URL: 'rediss://:pw@cache:6380/2',
      DATABASE_URL: 'postgres://u:p@db/adder',
      ADDER_DATA_DIR: '/var/lib/adder',
      ADDER_MAX_BODY_MB: '1',
      ADDER_JOB_RETENTION_HOURS: '0.5',
    });
    expect(config.server.port).toBe(0);
    expect(config.inference.batchDelayMs).toBe(2.5);
    expect(config.redisUrl).toBe('rediss://:pw@cache:6380/2');
    expect(config.dataDir).toBe('/var/lib/adder');
    expect(config.limits.bodyBytes).toBe(1_048_576);
    expect(config.jobs.retentionMs).toBe(1_800_000);
  });

  it('takes an empty variable for an unset one', () => {
    expect(loadConfig({ REDIS_URL: '', PORT: '' })).toEqual(loadConfig({}));
  });

  it.each([
    ['PORT', '70000'],
    ['PORT', '80.5'],
    ['PORT', '0x50'],
    ['ADDER_DB_POOL', '1'],
    ['ADDER_BATCH_DELAY_MS', '-1'],
    ['ADDER_BACKEND', 'cuda'],
    ['DATABASE_URL', 'mysql://db/adder'],
    ['REDIS_URL', 'localhost:6379'],
    ['ADDER_LOG_LEVEL', 'loud'],
  ])('refuses %s=%s by its name', (name, value) => {
    const error = refused({ [name]: value });
    expect(error.code).toBe('BAD_CONFIGURATION');
    expect(error.message).toContain(`${name}: expected`);
    expect(error.where?.field).toBe(name);
  });

  it('names every wrong variable at once and no secret', () => {
    const error = refused({ PORT: 'x', ADDER_QUEUE: 'kafka', DATABASE_URL: 'hunter2' });
    expect(error.where?.field).toBe('PORT, DATABASE_URL, ADDER_QUEUE');
    expect(error.message).not.toContain('hunter2');
  });

  it('refuses a misspelt variable and suggests the right one', () => {
    expect(refused({ ADDER_BATCH_SISE: '3' }).message).toContain('did you mean ADDER_BATCH_SIZE?');
  });

  it('refuses a Redis address that would not be used', () => {
    expect(refused({ ADDER_QUEUE: 'postgres', REDIS_URL: 'redis://r' }).where?.field).toBe('ADDER_QUEUE, REDIS_URL');
  });

  it('is documented: docs/configuration.md holds the table of the code', () => {
    expect(readFileSync('docs/configuration.md', 'utf8')).toContain(configurationTable());
  });

  it('declares every ADDER_ variable that a source file mentions', () => {
    const mentioned = new Set<string>();
    for (const folder of ['src', 'scripts', 'bench']) {
      for (const path of sources(folder)) {
        for (const [name] of readFileSync(path, 'utf8').matchAll(/\bADDER_[A-Z][A-Z_]+[A-Z]\b/g)) mentioned.add(name);
      }
    }
    expect([...mentioned].filter((name) => !Object.hasOwn(VARIABLES, name))).toEqual([]);
  });
});
