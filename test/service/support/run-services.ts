/** Helper process: starts the embedded services of a data folder, says where they are, stops them on `stop`. */
import { createInterface } from 'node:readline';
import { startServices } from '../../../src/platform/embedded/services.js';

const [dataDir, queue] = process.argv.slice(2);
const services = await startServices({
  dataDir: dataDir ?? '',
  databaseUrl: undefined,
  redisUrl: undefined,
  queue: queue === 'redis' ? 'redis' : 'postgres',
});
const { databaseUrl, description } = services;
console.log(JSON.stringify({ databaseUrl, queueUrl: services.queue.url, description }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line.includes('stop')) {
    await services.close();
    console.log(JSON.stringify({ stopped: true }));
    process.exit(0);
  }
}
