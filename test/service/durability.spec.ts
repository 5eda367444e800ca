import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { startPostgres } from '../../src/platform/embedded/postgres.js';
import { Database } from '../../src/store/database.js';
import { PointReader } from '../../src/store/point-reader.js';
import { SeriesStore } from '../../src/store/series.js';
import { Helper, scratch } from './support/processes.js';

/** Runs a writer, kills what `victim` names in the middle, and returns the last batch that it acknowledged. */
async function writeUntilKilled(dataDir: string, from: number, victim: 'server' | 'writer'): Promise<number> {
  const server = await startPostgres(dataDir);
  const database = await Database.open({ url: server.url });
  const series = (await new SeriesStore(database).ensure('ann', [{ uniqueId: 'a' }], 10)).get('a')!;
  const helper = Helper.start('test/service/support/write-points.ts', [server.url, String(series.id), String(from)]);
  let last = (await helper.next<{ batch: number }>()).batch;
  for (let n = 0; n < 5; n++) last = (await helper.next<{ batch: number }>()).batch;
  const postmaster = Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
  process.kill(victim === 'server' ? postmaster : helper.child.pid!, 'SIGKILL');
  await helper.exited;
  for (const { batch } of helper.take<{ batch: number }>()) last = batch;
  await database.close().catch(() => {});
  await server.stop();
  return last;
}

it('no acknowledged point is lost, and no batch is half there, when server or writer are killed in turn', async () => {
  const dir = scratch();
  let last = 0;
  for (const victim of ['server', 'writer', 'server', 'writer'] as const) {
    last = await writeUntilKilled(dir.path, last + 1, victim);
    const server = await startPostgres(dir.path);
    const database = await Database.open({ url: server.url });
    const series = await new SeriesStore(database).get('ann', 'a');
    const { times, values } = await new PointReader(database).read(series.id, { limit: 1e7 });
    expect(values).toEqual(times);
    // Batches begin at 1; the one after the last acknowledged may have been committed without our hearing of it.
    const batches = times.length / 500;
    expect(Number.isInteger(batches)).toBe(true);
    expect([last, last + 1]).toContain(batches);
    expect([...times]).toEqual(Array.from(times, (_, i) => 500 + i));
    last = batches;
    await database.close();
    await server.stop();
  }
  dir.remove();
});
