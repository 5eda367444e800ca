import { type EmbeddedServer, startPostgres } from '../../../src/platform/embedded/postgres.js';
import { Database } from '../../../src/store/database.js';
import { scratch } from './processes.js';

export interface TestDatabase {
  database: Database;
  server: EmbeddedServer;
  dataDir: string;
  close(): Promise<void>;
}

/** A real PostgreSQL of its own for one test file, with the schema applied. */
export async function testDatabase(): Promise<TestDatabase> {
  const dir = scratch();
  const server = await startPostgres(dir.path);
  const database = await Database.open({ url: server.url, poolSize: 12 });
  return {
    database,
    server,
    dataDir: dir.path,
    close: async () => {
      await database.close();
      await server.stop();
      dir.remove();
    },
  };
}
