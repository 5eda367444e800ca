/** Points a second by line protocol, through the HTTP door of an API process, committed, with nobody who wants forecasts. */
import { type Row, summarise } from '../measure.js';
import { startSetup } from './setup.js';

const LINES = 5000;
const SERIES = 1000;
const CLIENTS = 4;

export async function ingestRows(rounds = 7): Promise<Row[]> {
  const setup = await startSetup('redis');
  try {
    await setup.startLive();
    const address = await setup.startApi();
    const start = Date.now() - 86_400_000;
    // Made beforehand, so that the sender's work is not measured.
    const body = (n: number) => {
      const lines: string[] = [];
      for (let i = 0; i < LINES; i++) {
        const series = i % SERIES;
        const time = start + (n * (LINES / SERIES) + Math.floor(i / SERIES)) * 1000;
        lines.push(`cpu,host=h${series} load=${(Math.sin(i + n) * 50 + 50).toFixed(3)} ${time}`);
      }
      return lines.join('\n');
    };
    const perRound = 20;
    const rates: number[] = [];
    for (let round = 0; round <= rounds; round++) {
      const bodies = Array.from({ length: perRound }, (_, k) => body(round * perRound + k));
      const begin = performance.now();
      await Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          for (let next = bodies.shift(); next !== undefined; next = bodies.shift()) {
            const answer = await fetch(`${address}/api/v2/write?precision=ms`, { method: 'POST', body: next });
            if (answer.status !== 204) throw new Error(`${answer.status} ${await answer.text()}`);
          }
        }),
      );
      if (round > 0) rates.push((perRound * LINES * 1000) / (performance.now() - begin));
    }
    const name = `line protocol over HTTP, ${LINES} lines a request, ${CLIENTS} clients, ${SERIES} series`;
    return [{ name, ...summarise(rates), unit: 'points/s', higher: true, least: 50_000 }];
  } finally {
    await setup.stop();
  }
}
