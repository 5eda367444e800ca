import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { difference, heard, interleaved, pcm16, sound, writeSmallModel } from '../../../test/audio/doors/setting.js';
import { loadSpeechModel, type SpeechModel, TRACKS } from '../model/index.js';
import { allEvents, type HeardChannels, hearChannels } from '../outlook/hear.js';
import { loadTurnModel, type TurnModel } from '../turns/index.js';
import { Hearing } from './hearing.js';
import type { HeardEvent, SessionItem, SessionOutput } from './protocol.js';

const format = { encoding: 'pcm_s16', sampleRate: 16_000, channels: 2 } as const;
const options = { events: {}, turns: { threshold: 0.2, delayMs: 60, timeoutMs: 300 } };

let folder: string;
let speech: SpeechModel;
let turns: TurnModel;
let hearing: Hearing;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'adder-hearing-'));
  writeSmallModel(join(folder, 'model'));
  speech = await loadSpeechModel(join(folder, 'model'), 'wasm');
  turns = await loadTurnModel(undefined, speech.backend);
  hearing = new Hearing(speech);
});
afterAll(async () => {
  await turns?.close();
  await hearing?.end();
  rmSync(folder, { recursive: true });
});

/** One session as its client hears it, through ticks of any pieces and through saved states. */
class Client {
  readonly sides: number[][] = [[], []];
  readonly turns: number[] = [];
  readonly events: HeardEvent[] = [];

  constructor(readonly id: number) {}

  async open(saved?: Uint8Array): Promise<this> {
    await hearing.answer({ kind: 'open', session: this.id, format, options, ...(saved ? { saved } : {}) });
    return this;
  }

  async reopen(): Promise<void> {
    await this.open((await hearing.answer({ kind: 'save', session: this.id })) as Uint8Array);
  }

  read(output: SessionOutput): void {
    expect(output.errors).toEqual([]);
    for (const [s, { values }] of output.sides.entries()) for (const v of values) this.sides[s].push(v);
    for (const v of output.turns!.values) this.turns.push(v);
    this.events.push(...output.events);
  }
}

async function tick(work: [Client, SessionItem[]][]): Promise<void> {
  const asked = work.map(([client, items]) => ({ session: client.id, items }));
  const outputs = (await hearing.answer({ kind: 'tick', work: asked })) as SessionOutput[];
  outputs.forEach((output, i) => {
    work[i][0].read(output);
  });
}

/** What becomes known at the same sample is told in no order of its own. */
const ordered = (events: readonly HeardEvent[]) =>
  [...events].sort((x, y) => x.sample - y.sample || (kindOf(x) < kindOf(y) ? -1 : 1));
const kindOf = (event: HeardEvent) => `${event.type} ${event.side} ${'lead' in event ? event.lead : ''}`;

function compare(client: Client, whole: HeardChannels): void {
  for (const s of [0, 1]) expect(difference(client.sides[s], whole.sides[s].values)).toBeLessThan(1e-4);
  expect(difference(client.turns, whole.turns!.tracks.values)).toBeLessThan(1e-4);
  expect(ordered(client.events)).toEqual(
    ordered(allEvents(whole)).map((event) => ({ ...event, probability: expect.closeTo(event.probability, 3) })),
  );
}

describe('a session of two sides', () => {
  it('streams what a scan gives, at any chunking, beside another session and through saved states', async () => {
    const sounds = [1, 2, 3].map((seed) => [sound(2, seed), sound(2, seed + 4)] as const);
    const wholes: HeardChannels[] = [];
    for (const [a, b] of sounds) {
      wholes.push(
        await hearChannels(speech, [heard(a), heard(b)], { turns: { model: turns, options: options.turns } }),
      );
    }
    expect(wholes.some(({ turns: outlook }) => outlook!.events.length > 0)).toBe(true);
    let id = 0;
    const piece = fc.record({
      // Bytes of the first and of the second session; small ones are in the middle of samples.
      sizes: fc.tuple(
        fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 4000 })),
        fc.integer({ min: 0, max: 30_000 }),
      ),
      reopen: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 0, max: 2 }),
        async (pieces, which) => {
          const both = [which, (which + 1) % 3];
          const bytes = both.map((s) => pcm16(interleaved(...sounds[s])));
          const clients = [await new Client(id++).open(), await new Client(id++).open()];
          const at = [0, 0];
          for (const { sizes, reopen } of [...pieces, { sizes: [Infinity, Infinity], reopen: false }]) {
            const work = clients.map((client, c): [Client, SessionItem[]] => {
              const part = bytes[c].subarray(at[c], at[c] + sizes[c]);
              at[c] += part.length;
              return [client, part.length > 0 ? [{ kind: 'audio', bytes: part }] : []];
            });
            await tick(work);
            if (reopen) await clients[0].reopen();
          }
          await tick(clients.map((client) => [client, [{ kind: 'finish' }]]));
          for (const client of clients) await hearing.answer({ kind: 'close', session: client.id });
          for (const [c, client] of clients.entries()) compare(client, wholes[both[c]]);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('leaves nothing behind where it cannot be opened', async () => {
    const ask = { kind: 'open', session: 9999 } as const;
    const mono = { ...format, channels: 1 };
    await expect(hearing.answer({ ...ask, format: mono, options })).rejects.toMatchObject({
      code: 'BAD_CHANNELS',
      where: { field: 'channels' },
    });
    const odd = { events: {}, turns: { delayMs: 900, timeoutMs: 100 } };
    await expect(hearing.answer({ ...ask, format, options: odd })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    const client = await new Client(9998).open();
    await tick([[client, [{ kind: 'audio', bytes: Buffer.alloc(6400) }]]]);
    expect(client.sides[0].length).toBe(10 * TRACKS.length);
    await hearing.answer({ kind: 'close', session: client.id });
  });
});
