import { defineConfig } from 'prisma/config';

// generate, validate and format never run the schema engine, but the command line downloads it first unless it is told
// where one is. Any executable will do.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath;

export default defineConfig({
  schema: 'schema.prisma',
  migrations: { path: 'migrations' },
  ...(process.env.DATABASE_URL ? { datasource: { url: process.env.DATABASE_URL } } : {}),
});
