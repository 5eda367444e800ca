/** How long forecasts stop when the owner of all series is killed and another live worker is there. */
import type { Row } from '../measure.js';
import { batchOf, sleep, startSetup, WRITER } from './setup.js';

export async function recoveryRows(kind: 'redis' | 'postgres', count = 1000): Promise<Row[]> {
  const setup = await startSetup(kind);
  try {
    const { client } = setup;
    const owner = await setup.startLive();
    const names = Array.from({ length: count }, (_, i) => `recovery/${i}`);
    const start = Date.now() - 86_400_000;
    const latest = new Map<string, number>();
    await client.feed.subscribe(WRITER.owner, { prefix: 'recovery/' }, {}, ({ series, at }) => latest.set(series, at));
    const second = async (k: number) => {
      const points = names.map((name, s) => [name, start + k * 1000, Math.sin((k + s) / 9)] as const);
      await client.ingest.write(WRITER, batchOf(points), { describe: () => ({ freq: '1s', season: 60 }) });
    };
    for (let k = 0; k < 300; k++) {
      await second(k);
      await sleep(20);
    }
    const all = async (k: number) => {
      for (const wanted = start + k * 1000; ![...names].every((name) => latest.get(name) === wanted); ) await sleep(20);
    };
    await all(299);
    await setup.startLive();
    await sleep(300);
    owner.kill('SIGKILL');
    const since = performance.now();
    await second(300);
    await all(300);
    const ms = performance.now() - since;
    return [
      {
        name: `${count} series, news by ${kind}: kill -9 of the owner until every series has its forecast again`,
        value: ms / 1000,
        unit: 's',
        least: 10,
        note: 'lease 5 s',
      },
    ];
  } finally {
    await setup.stop();
  }
}
