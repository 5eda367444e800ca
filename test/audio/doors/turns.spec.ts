/** The turn outlook of two-channel audio through the WebSocket door. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { allEvents, type HeardChannels } from '../../../src/audio/outlook/hear.js';
import { TURN_TRACKS } from '../../../src/audio/turns/index.js';
import {
  COLUMNS,
  difference,
  heard,
  interleaved,
  type Message,
  pcm16,
  type Setting,
  SpeechClient,
  sound,
  startSetting,
} from './setting.js';

const QUERY = 'channels=2&turns=true';
/** Ends turns early, so that short sounds have some. */
const EAGER = { threshold: 0.1, delayMs: 60, timeoutMs: 400 };
const EAGER_QUERY = `${QUERY}&turn_threshold=0.1&turn_delay_ms=60&turn_timeout_ms=400`;

let setting: Setting;
beforeAll(async () => {
  setting = await startSetting({ ADDER_SPEECH_RESUME_MS: '20000' });
});
afterAll(() => setting?.stop());

const open = (query = QUERY) => SpeechClient.open(setting.app, query);
const shown = ({ type: _, event, final: __, ...rest }: Message) => ({ type: event, ...rest });
const talk = (seconds: number, seed: number) => [sound(seconds, seed), sound(seconds, seed + 1)] as const;

/** Rows of both sides beside each other, as frames have them. */
function columns({ sides, count }: HeardChannels): Float32Array {
  const out = new Float32Array(2 * count * COLUMNS);
  for (const [s, { values }] of sides.entries()) {
    for (let i = 0; i < count; i++) {
      out.set(values.subarray(i * COLUMNS, (i + 1) * COLUMNS), (2 * i + s) * COLUMNS);
    }
  }
  return out;
}

const told = (conversation: HeardChannels) =>
  ordered(allEvents(conversation).map((event) => ({ ...event, probability: expect.closeTo(event.probability, 3) })));

/** What becomes known at the same sample is told in no order of its own. */
function ordered<T extends object>(events: T[]): T[] {
  const key = (event: object) => {
    const { sample, type, side, lead } = event as Record<string, string>;
    return `${sample.toString().padStart(9)} ${type} ${side} ${lead}`;
  };
  return events.sort((x, y) => (key(x) < key(y) ? -1 : 1));
}

describe('live turns', () => {
  it('hears each side alone and both together, however the bytes are cut, beside sessions of one channel', async () => {
    const cuts = [[6400], [1, 1, 1, 3, 7, 1281, 640], [200_000]];
    const single = await SpeechClient.open(setting.app, 'channels=2');
    single.send(pcm16(interleaved(...talk(1, 1))));
    await Promise.all(
      cuts.map(async (cut, i) => {
        const [a, b] = talk(4 + i, i + 1);
        const client = await open(`${EAGER_QUERY}&interim_ms=100`);
        client.sendCut(pcm16(interleaved(a, b)), cut);
        const summary = await client.finish();
        const conversation = await setting.converse(heard(a), heard(b), EAGER);
        expect(client.begin).toMatchObject({ channels: 2, sides: ['a', 'b'], turns: { ...EAGER, hop: 320 } });
        expect(difference(client.values(), columns(conversation))).toBeLessThan(1e-4);
        expect(difference(client.values(client.turns), conversation.turns!.tracks.values)).toBeLessThan(1e-4);
        expect(client.turns.get(0)!.length).toBe(TURN_TRACKS.length);
        expect(ordered(client.of('event').map(shown))).toEqual(told(conversation));
        const ends = client.of('event').filter(({ event }) => event === 'end_of_turn');
        expect(ends.length).toBeGreaterThan(1);
        const last = client.of('interim').at(-1) as unknown as Record<'a' | 'b' | 'turns', Record<string, number>>;
        expect(Object.keys(last.turns)).toEqual([...TURN_TRACKS]);
        expect([last.a.speech, last.b.speech].every((p) => p >= 0 && p <= 1)).toBe(true);
        expect(summary).toMatchObject({
          rows: conversation.count,
          droppedRows: 0,
          events: { end_of_turn: ends.length },
        });
        expect(Object.keys(summary.speechSeconds as object)).toEqual(['a', 'b']);
      }),
    );
    // Two channels without turns are mixed, as ever.
    expect(await single.finish()).toMatchObject({ rows: 100, events: { speech_start: expect.any(Number) } });
    expect([single.rows.get(0)!.length, single.turns.size]).toEqual([COLUMNS, 0]);
  });

  it('goes on with a dropped session as if nothing had happened', async () => {
    const [a, b] = talk(4, 3);
    const bytes = pcm16(interleaved(a, b));
    let client = await open(EAGER_QUERY);
    const [rows, turns] = [client.rows, client.turns];
    const events: Message[] = [];
    // Odd places: in the middle of a sample, of a hop, of a frame of the turn model.
    for (const [from, to] of [
      [0, 38_401],
      [38_401, 100_003],
      [100_003, bytes.length],
    ] as const) {
      if (from > 0) client = await open(`session=${client.begin.session}&turns=true`);
      expect(client.begin).toMatchObject({ received: from, turns: EAGER });
      client.sendCut(bytes.subarray(from, to), [3333]);
      if (to < bytes.length) {
        await client.flushed();
        client.socket.terminate();
      } else await client.finish();
      for (const [i, row] of client.rows) rows.set(i, row);
      for (const [i, row] of client.turns) turns.set(i, row);
      events.push(...client.of('event'));
    }
    const conversation = await setting.converse(heard(a), heard(b), EAGER);
    expect(difference(client.values(rows), columns(conversation))).toBeLessThan(1e-4);
    expect(difference(client.values(turns), conversation.turns!.tracks.values)).toBeLessThan(1e-4);
    expect(ordered(events.map(shown))).toEqual(told(conversation));
  });

  it('takes other thresholds on the way and with a new connection', async () => {
    const bytes = pcm16(interleaved(...talk(2, 1)));
    const client = await open(`${QUERY}&turn_threshold=1&turn_timeout_ms=10000`);
    client.send(bytes);
    await client.flushed();
    const ends = () => client.of('event').filter(({ event }) => event === 'end_of_turn');
    expect(ends()).toEqual([]);
    client.send({ type: 'configure', turns: { threshold: 0, delayMs: 40 } });
    client.send(bytes);
    await client.flushed();
    expect(client.of('configured')[0]).toMatchObject({ turns: { threshold: 0, delayMs: 40, timeoutMs: 10_000 } });
    expect(ends().length).toBeGreaterThan(0);
    // The first one may have begun to be silent under the thresholds before.
    expect(
      ends()
        .slice(1)
        .every(({ waited }) => waited === 40),
    ).toBe(true);
    for (const end of ends()) {
      expect(end).toMatchObject({ side: expect.stringMatching(/^[ab]$/), final: true });
      expect(end.at).toBe((end.sample as number) - (end.waited as number) * 16);
    }
    client.send({ type: 'configure', turns: { delayMs: 500, timeoutMs: 100 } });
    await client.until(() => client.of('error').length === 1);
    expect(client.of('error')[0]).toMatchObject({ code: 'BAD_OPTION' });
    client.socket.terminate();
    const again = await open(`session=${client.begin.session}&turn_delay_ms=300`);
    expect(again.begin.turns).toMatchObject({ threshold: 0, delayMs: 300, timeoutMs: 10_000 });
    again.send(bytes);
    await again.finish();
    for (const end of again.of('event').filter(({ event }) => event === 'end_of_turn')) {
      expect(end.waited).toBeGreaterThanOrEqual(300);
    }
  });

  it('takes Opus in two channels', async () => {
    const client = await open(`${QUERY}&encoding=opus`);
    // 20 ms of nothing, as in a lost packet.
    for (let i = 0; i < 5; i++) client.send(Buffer.from([0xf8, 0xff, 0xfe]));
    await client.flushed();
    expect([client.rows.size, client.turns.size, client.rows.get(0)!.length]).toEqual([10, 5, 2 * COLUMNS]);
    await client.finish();
  });

  it('refuses what cannot be, naming the field', async () => {
    for (const [query, code, field] of [
      ['turns=true', 'BAD_CHANNELS', 'channels'],
      ['turns=true&channels=3', 'BAD_CHANNELS', 'channels'],
      ['turns=yes&channels=2', 'INVALID_REQUEST', 'turns'],
      ['channels=2&turn_threshold=0.7', 'INVALID_REQUEST', 'turns'],
      [`${QUERY}&turn_threshold=2`, 'INVALID_REQUEST', 'turn_threshold'],
      [`${QUERY}&turn_threshold=NaN`, 'INVALID_REQUEST', 'turn_threshold'],
      [`${QUERY}&turn_delay_ms=-1`, 'INVALID_REQUEST', 'turn_delay_ms'],
      [`${QUERY}&turn_delay_ms=500&turn_timeout_ms=100`, 'BAD_OPTION', 'timeout'],
    ]) {
      const error = await open(query).then(
        () => undefined,
        (refusal) => refusal as Error & { status: number },
      );
      expect([query, error?.status]).toEqual([query, 422]);
      expect(JSON.parse(error!.message)).toMatchObject({ code, fix: expect.any(String) });
      expect(error!.message).toContain(field);
    }
    const plain = await SpeechClient.open(setting.app);
    plain.send({ type: 'configure', turns: { threshold: 0.7 } });
    await plain.until(() => plain.of('error').length > 0);
    expect(plain.of('error')[0]).toMatchObject({ code: 'INVALID_REQUEST', field: 'turns' });
    plain.socket.terminate();
    await expect(open(`session=${plain.begin.session}&turns=true`)).rejects.toMatchObject({ status: 422 });
    await expect(open(`session=${plain.begin.session}&turn_threshold=0.7`)).rejects.toMatchObject({ status: 422 });
    const again = await open(`session=${plain.begin.session}&turns=false`);
    expect(again.begin).not.toHaveProperty('turns');
    await again.finish();
  });
});
