import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventsOf } from '../../../src/audio/outlook/outlook.js';
import { childrenOf, startApp } from '../../http/app.js';
import { difference, heard, type Message, pcm16, type Setting, SpeechClient, sound, startSetting } from './setting.js';

let setting: Setting;
beforeAll(async () => {
  setting = await startSetting({ ADDER_SPEECH_RESUME_MS: '20000' });
});
afterAll(() => setting?.stop());

const open = (query = '') => SpeechClient.open(setting.app, query);
const shown = ({ type: _, event, final: __, ...rest }: Message) => ({ type: event, ...rest });

describe('live speech', () => {
  it('gives what a scan gives, however the bytes are cut, to several sessions at once', async () => {
    const cuts = [[3200], [1, 1, 1, 1, 7, 319, 640, 5000], [100_000], [2, 3, 321]];
    const sounds = cuts.map((_, i) => sound(3 + i, i + 1));
    const clients = await Promise.all(cuts.map(() => open('interim_ms=100')));
    await Promise.all(
      clients.map(async (client, i) => {
        client.sendCut(pcm16(sounds[i]), cuts[i]);
        const summary = await client.finish();
        const { tracks } = await setting.scan(heard(sounds[i]));
        expect(difference(client.values(), tracks.values)).toBeLessThan(1e-4);
        const events = eventsOf(tracks);
        expect(events.length).toBeGreaterThan(2);
        expect(client.of('event').map(shown)).toEqual(
          events.map((event) => ({ ...event, probability: expect.closeTo(event.probability, 3) })),
        );
        expect(client.of('interim').length).toBeGreaterThan(0);
        expect(summary).toMatchObject({ rows: tracks.count, received: sounds[i].length * 2, droppedRows: 0 });
        expect([client.code, client.begin.resumed]).toEqual([1000, false]);
      }),
    );
  });

  it('takes floats at another rate in two channels, and G.711', async () => {
    const samples = sound(2, 2, 48_000);
    const stereo = Float32Array.from({ length: 2 * samples.length }, (_, i) => samples[i >> 1]);
    const client = await open('sample_rate=48000&encoding=float32&channels=2&tracks=speech,end_200');
    expect(client.begin).toMatchObject({ sampleRate: 48_000, channels: 2, tracks: ['speech', 'end_200'] });
    client.sendCut(Buffer.from(stereo.buffer), [1001]);
    const summary = await client.finish();
    expect(summary.seconds).toBeCloseTo(2, 1);
    expect(client.rows.get(0)!.length).toBe(2);

    const phone = await open('sample_rate=8000&encoding=mulaw');
    phone.send(Buffer.alloc(8000, 0xff));
    await phone.flushed();
    expect(phone.rows.size).toBeGreaterThanOrEqual(98);
    await phone.finish();
  });

  it('goes on with a dropped session as if nothing had happened', async () => {
    const samples = sound(4, 3);
    const bytes = pcm16(samples);
    const client = await open();
    // Odd: half a sample is on its way.
    client.sendCut(bytes.subarray(0, 40_001), [1501]);
    await client.flushed();
    client.socket.terminate();
    const again = await open(`session=${client.begin.session}`);
    expect(again.begin).toMatchObject({ resumed: true, received: 40_001, rows: 125, session: client.begin.session });
    expect((again.begin.events as object[]).length).toBe(client.of('event').length);
    again.sendCut(bytes.subarray(40_001), [999]);
    const summary = await again.finish();
    for (const [i, row] of client.rows) again.rows.set(i, row);
    const { tracks } = await setting.scan(heard(samples));
    expect(difference(again.values(), tracks.values)).toBeLessThan(1e-4);
    const events = eventsOf(tracks);
    expect([...client.of('event'), ...again.of('event')].map((e) => [e.event, e.at])).toEqual(
      events.map((e) => [e.type, e.at]),
    );
    expect(summary).toMatchObject({ rows: 400, received: bytes.length });
    // Said close: gone for good.
    await expect(open(`session=${client.begin.session}`)).rejects.toMatchObject({ status: 404 });
  });

  it('gives the numbers of an undisturbed session after many resumes, in the middle of the resampling filter', async () => {
    const bytes = pcm16(sound(2, 4, 44_100));
    const query = 'sample_rate=44100&interim_ms=0';
    const steady = await open(query);
    steady.sendCut(bytes, [4410]);
    await steady.finish();
    let client = await open(query);
    const rows = client.rows;
    for (let at = 0, cut = 12_345; at < bytes.length; at += cut) {
      client.sendCut(bytes.subarray(at, at + cut), [4410]);
      await client.flushed();
      if (at + cut >= bytes.length) break;
      client.socket.terminate();
      client = await open(`session=${client.begin.session}`);
    }
    await client.finish();
    expect(rows.size).toBeGreaterThan(0);
    for (const [i, row] of [...rows, ...client.rows]) expect(difference(row, steady.rows.get(i)!)).toBeLessThan(1e-5);
  });

  it('takes a session over from a connection that has not noticed its end', async () => {
    const client = await open();
    client.send(pcm16(sound(1)));
    await client.flushed();
    const again = await open(`session=${client.begin.session}`);
    await client.until(() => client.code !== undefined);
    expect([client.code, again.begin.rows]).toEqual([4001, 100]);
    await again.finish();
  });

  it('configures thresholds from the next sample on, and what it sends', async () => {
    const client = await open('interim_ms=0');
    const bytes = pcm16(sound(4, 1));
    client.send(bytes.subarray(0, 64_000));
    client.send({ type: 'configure', events: { startThreshold: 1, endThreshold: 1 }, tracks: ['speech'] });
    client.send(bytes.subarray(64_000));
    await client.flushed();
    expect(client.of('configured')[0]).toMatchObject({
      tracks: ['speech'],
      events: { startThreshold: 1, startMs: 30 },
    });
    const late = client.of('event').filter((e) => (e.sample as number) > 32_000 + 160 * 7);
    expect(late.filter((e) => e.event === 'speech_start')).toEqual([]);
    for (const [message, field] of [
      [{ type: 'configure', events: { startThreshold: 2 } }, 'events.startThreshold'],
      [{ type: 'configure', tracks: ['nothing'] }, 'tracks[0]'],
      [{ type: 'shout' }, 'type'],
    ] as const) {
      const before = client.of('error').length;
      client.send(message);
      await client.until(() => client.of('error').length > before);
      expect(client.of('error').at(-1)).toMatchObject({ code: 'INVALID_REQUEST', field });
    }
    client.send({ type: 'configure', events: { startThreshold: 0.1, endThreshold: 0.9 } });
    client.socket.send('{');
    await client.until(() => client.of('error').length === 5);
    expect(
      client
        .of('error')
        .map((e) => e.code)
        .slice(-2),
    ).toEqual(['BAD_OPTION', 'BAD_JSON']);
    await client.finish();
  });

  it('closes after silence, and keep_alive counts as a sign of life', async () => {
    const client = await open('idle_ms=1000');
    for (let i = 0; i < 4; i++) {
      await new Promise((wake) => setTimeout(wake, 500));
      client.send({ type: 'keep_alive' });
    }
    expect(client.code).toBeUndefined();
    await client.until(() => client.code !== undefined, 5000);
    expect(client.code).toBe(4008);
    const again = await open(`session=${client.begin.session}`);
    expect(again.begin.resumed).toBe(true);
    await again.finish();
  });

  it('refuses what cannot be, naming the field', async () => {
    for (const [query, code, word] of [
      ['sample_rate=0', 'BAD_SAMPLE_RATE', '0 Hz'],
      ['sample_rate=768000', 'BAD_SAMPLE_RATE', '768000 Hz'],
      ['sample_rate=fast', 'INVALID_REQUEST', 'sample_rate'],
      ['channels=64', 'BAD_CHANNELS', '64 channels'],
      ['channels=0', 'BAD_CHANNELS', '0 channels'],
      ['encoding=mp3', 'INVALID_REQUEST', 'encoding'],
      ['encoding=opus&channels=5', 'BAD_CHANNELS', 'channels'],
      ['tracks=all,more', 'INVALID_REQUEST', 'tracks'],
      ['idle_ms=1', 'INVALID_REQUEST', 'idle_ms'],
      ['colour=red', 'INVALID_REQUEST', 'colour'],
      ['session=7', 'INVALID_REQUEST', 'session'],
      ['session=3f1f5b9e-8f0c-4b62-9d0e-0e6f1d0b8a11', 'UNKNOWN_SESSION', 'session'],
    ]) {
      const error = await open(query).then(
        () => undefined,
        (refusal) => refusal as Error & { status: number },
      );
      expect([query, error?.status === 422 || error?.status === 404]).toEqual([query, true]);
      expect(JSON.parse(error!.message)).toMatchObject({ code });
      expect(error!.message).toContain(word);
    }
    const kept = await open('sample_rate=8000');
    kept.socket.terminate();
    await expect(open(`session=${kept.begin.session}&sample_rate=16000`)).rejects.toMatchObject({ status: 422 });
    const again = await open(`session=${kept.begin.session}&sample_rate=8000`);
    await again.finish();
  });

  it('hears NaN, infinities, silence and full scale as numbers', async () => {
    const client = await open('encoding=float32&interim_ms=0');
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, 0];
    const samples = Float32Array.from({ length: 16_000 }, (_, i) => odd[i % odd.length]);
    client.send(Buffer.from(samples.buffer));
    client.send(Buffer.alloc(64_000));
    client.send(Buffer.from(Float32Array.from({ length: 16_000 }, (_, i) => ((i * 7919) % 2 ? 1 : -1)).buffer));
    const summary = await client.finish();
    expect(summary).toMatchObject({ rows: 300, repaired: 12_800 });
    for (const [i, row] of client.rows) {
      const finite = row.subarray(0, i === 0 ? row.length - 1 : row.length).every(Number.isFinite);
      expect([i, finite]).toEqual([i, true]);
    }
  });

  it('tells which packets are no Opus, and goes on', async () => {
    const client = await open('encoding=opus');
    client.send(Buffer.from([0xff, 0xff, 0xff, 1, 2, 3]));
    // TOC of 20 ms CELT with nothing in it: a lost packet, which decodes to concealment or is refused; never a crash.
    client.send(Buffer.from([0xf8, 0xff, 0xfe]));
    await client.flushed();
    expect(client.of('error')[0]).toMatchObject({ code: 'BAD_AUDIO' });
    expect(client.rows.size).toBe(2);
    await client.finish();
  });

  it('stays small and alive beside a client that floods and never reads', async () => {
    const client = await open('sample_rate=4000&encoding=mulaw&interim_ms=10');
    client.socket.pause();
    const chunk = Buffer.alloc(40_000, 0x55);
    let sent = 0;
    const server = childrenOf(setting.app.process.child.pid!, 'main.ts')[0];
    const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server}/status`, 'utf8'))![1]) / 1024;
    const before = memory();
    const end = Date.now() + 8000;
    while (Date.now() < end && client.socket.readyState === client.socket.OPEN) {
      if (client.socket.bufferedAmount < 2 ** 20) {
        client.send(chunk);
        sent += chunk.length;
      } else await new Promise((wake) => setTimeout(wake, 5));
      // Another one is heard meanwhile.
      if (sent === 40_000 * 20) {
        const other = await open();
        other.send(pcm16(sound(1)));
        expect(await other.finish()).toMatchObject({ rows: 100, droppedRows: 0 });
      }
    }
    expect(sent).toBeGreaterThan(800_000);
    expect(memory() - before).toBeLessThan(150);
    client.socket.resume();
    client.socket.terminate();
    expect((await fetch(`${setting.app.address}/health/live`)).status).toBe(200);
  });

  it('tells its clients when the listening process dies, and starts another', async () => {
    const client = await open();
    client.send(pcm16(sound(1)));
    await client.flushed();
    const [child] = childrenOf(childrenOf(setting.app.process.child.pid!, 'main.ts')[0], 'hearing-child');
    process.kill(child, 'SIGKILL');
    await client.until(() => client.code !== undefined);
    expect(client.code).toBe(1013);
    expect(client.of('error')[0]).toMatchObject({ code: 'LISTENER_LOST' });
    const next = await open();
    next.send(pcm16(sound(1)));
    expect(await next.finish()).toMatchObject({ rows: 100 });
  });

  it('goes on after the whole service was stopped and started again', async () => {
    const samples = sound(2, 5);
    const bytes = pcm16(samples);
    const folder = mkdtempSync(join(tmpdir(), 'adder-speech-data-'));
    const env = { ADDER_SPEECH_MODEL: join(setting.folder, 'model'), ADDER_BACKEND: 'wasm' };
    const first = await startApp(env, folder);
    const client = await SpeechClient.open(first);
    client.send(bytes.subarray(0, 30_001));
    await client.until(() => client.rows.size > 0);
    await first.stop();
    await client.until(() => client.code !== undefined);
    expect(client.code).toBe(1001);
    const second = await startApp(env, folder);
    try {
      const again = await SpeechClient.open(second, `session=${client.begin.session}`);
      expect(again.begin).toMatchObject({ resumed: true, received: 30_001 });
      again.send(bytes.subarray(30_001));
      await again.finish();
      for (const [i, row] of client.rows) again.rows.set(i, row);
      const { tracks } = await setting.scan(heard(samples));
      expect(difference(again.values(), tracks.values)).toBeLessThan(1e-4);
    } finally {
      await second.stop();
      rmSync(folder, { recursive: true });
    }
  });
});
