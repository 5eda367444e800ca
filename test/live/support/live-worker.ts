/** Helper process: a live worker, until it is killed or told to stop. Says when it owns partitions. */
import { createInterface } from 'node:readline';
import pino from 'pino';
import { LiveProcess } from '../../../src/live/live-process.js';

const [databaseUrl, kind, queueUrl, model, leaseMs] = process.argv.slice(2);
const live = await LiveProcess.start(
  {
    databaseUrl: databaseUrl ?? '',
    databasePool: 6,
    connection: { kind: kind as 'redis' | 'postgres', url: queueUrl ?? '' },
    model: model ?? '',
    backend: 'wasm',
    leaseMs: Number(leaseMs),
  },
  pino({ level: 'warn' }, pino.destination(2)),
);
console.log(JSON.stringify({ ready: process.pid, ...live.owner.held }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line.includes('held')) console.log(JSON.stringify({ ...live.owner.held, memory: process.memoryUsage.rss() }));
  if (line.includes('stop')) {
    await live.stop();
    console.log(JSON.stringify({ stopped: true }));
    process.exit(0);
  }
}
