/** Helper process: a worker on the queues of the contract's table, until it is killed or told to stop. */
import { createInterface } from 'node:readline';
import { JobSystem } from '../../../src/jobs/system.js';
import { Database } from '../../../src/store/database.js';
import { processors, table } from './job-table.js';

const [databaseUrl, kind, queueUrl, lockMs] = process.argv.slice(2);
const database = await Database.open({ url: databaseUrl ?? '' });
const jobs = await JobSystem.open({
  table,
  database,
  connection: { kind: kind as 'redis' | 'postgres', url: queueUrl ?? '' },
  maxUnfinished: 1000,
});
await jobs.work(processors(database, { order: [], stopped: [], starts: [] }), {
  lockMs: Number(lockMs),
  retentionMs: 1e9,
});
console.log(JSON.stringify({ ready: process.pid }));
for await (const line of createInterface({ input: process.stdin })) {
  const drainMs = Number(/stop (\d+)/.exec(line)?.[1] ?? Number.NaN);
  if (Number.isNaN(drainMs)) continue;
  await jobs.close(drainMs);
  await database.close();
  console.log(JSON.stringify({ stopped: true }));
  process.exit(0);
}
