import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TRACKS, trackOf } from '../../../src/audio/model/index.js';
import { SHOWN_TRACKS } from '../../../src/audio/outlook/outlook.js';
import { SIDES, type SideName, TURN_TRACKS, turnTrackOf } from '../../../src/audio/turns/index.js';
import { call, type TestApp } from '../../http/app.js';
import { until } from '../../service/support/processes.js';
import { wav } from '../containers.js';
import { difference, heard, interleaved, pcm16, type Setting, sound, startSetting } from './setting.js';

let setting: Setting;
let app: TestApp;
beforeAll(async () => {
  setting = await startSetting();
  app = setting.app;
});
afterAll(() => setting?.stop());

interface Clip {
  samples: number;
  seconds: number;
  segments: { from: number; to: number }[];
  tracks: Record<string, number[]>;
  events: { type: string; at: number }[];
  embeddings?: { seconds: number; values: number[][] };
  warnings: string[];
}

interface Conversation {
  hopMs: number;
  sides: Record<SideName, Clip & { embeddings: { values: number[][] } }>;
  turns: {
    hopMs: number;
    model: string;
    tracks: Record<string, (number | null)[]>;
    events: { at: number; side: SideName }[];
  };
}

/** As JSON has them: null for what is not a number. */
const numbers = (values: readonly (number | null)[]) => Float32Array.from(values, (v) => v ?? Number.NaN);

const file = (samples: Float32Array, sampleRate = 16_000) =>
  wav({ tag: 1, bits: 16, channels: 1, sampleRate, body: pcm16(samples) });
const post = <T = Clip>(body: Uint8Array, query = '', headers: Record<string, string> = {}) =>
  call<T>(app, 'POST', `/v1/audio/clips${query}`, body, { 'content-type': 'application/octet-stream', ...headers });

/** The answer in lines. */
async function lines(body: Uint8Array, query: string) {
  const answer = await fetch(`${app.address}/v1/audio/clips${query}`, {
    method: 'POST',
    body: body as never,
    headers: { accept: 'application/x-ndjson' },
  });
  return (await answer.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('clips', () => {
  it('gives the tracks of a file, whatever its type is said to be', async () => {
    const samples = sound(3);
    for (const type of ['audio/wav', 'application/x-www-form-urlencoded', 'application/json']) {
      const { status, body } = await post(file(samples), '', { 'content-type': type });
      expect([type, status]).toEqual([type, 200]);
      expect(Object.keys(body.tracks)).toEqual([...SHOWN_TRACKS]);
      const { tracks } = await setting.scan(heard(samples));
      for (const name of SHOWN_TRACKS) expect(difference(body.tracks[name], trackOf(tracks, name))).toBeLessThan(1e-4);
      expect(body.segments.length).toBe(body.events.filter((event) => event.type === 'speech_end').length);
      expect(body.segments.length).toBeGreaterThan(0);
      expect(body.seconds).toBe(3);
    }
  });

  it('takes forms and headerless samples', async () => {
    const samples = sound(1, 2);
    const plain = (await post(file(samples))).body;
    const form = new FormData();
    form.set('title', 'x');
    form.set('file', new Blob([file(samples)]), 'a.wav');
    const answer = await fetch(`${app.address}/v1/audio/clips`, { method: 'POST', body: form });
    expect([answer.status, ((await answer.json()) as Clip).events]).toEqual([200, plain.events]);
    const raw = await post(pcm16(samples), '?encoding=pcm_s16&sample_rate=16000');
    expect(difference(raw.body.tracks.speech, plain.tracks.speech)).toBeLessThan(1e-3);
  });

  it('answers in lines, as a picture, and with embeddings', async () => {
    const bytes = file(sound(2, 3));
    const parsed = await lines(bytes, '?tracks=speech,surprise');
    expect(parsed[0]).toMatchObject({ type: 'clip', seconds: 2 });
    const hops = parsed.filter(({ type }) => type === 'hop');
    expect(hops.length).toBe(200);
    expect(Object.keys(hops[5])).toEqual(['type', 'sample', 'speech', 'surprise']);
    expect(hops[5].sample).toBe(960);
    const picture = await post<string>(bytes, '', { accept: 'image/svg+xml' });
    expect(picture.headers.get('content-type')).toContain('image/svg+xml');
    expect(picture.body).toMatch(/^<svg .*<\/svg>\n$/s);
    const { embeddings } = (await post(bytes, '?embeddings=0.5')).body;
    expect([embeddings!.values.length, embeddings!.values[0].length]).toEqual([4, 24]);
    expect((await post<{ code: string }>(bytes, '', { accept: 'text/html' })).status).toBe(406);
  });

  it('hears the two sides of a conversation', async () => {
    const [a, b] = [sound(3, 1), sound(3, 2)];
    const stereo = (body: Uint8Array, channels = 2) => wav({ tag: 1, bits: 16, channels, sampleRate: 16_000, body });
    const bytes = stereo(pcm16(interleaved(a, b)));
    const query = '?turns=true&turn_threshold=0.1&turn_delay_ms=60&tracks=all&embeddings=1';
    const options = { threshold: 0.1, delayMs: 60 };
    const whole = await setting.converse(heard(a), heard(b), options);
    const { status, body } = await post<Conversation>(bytes, query);
    expect(status).toBe(200);
    expect([body.hopMs, body.turns.hopMs, body.turns.model]).toEqual([10, 20, 'speech-turns']);
    for (const [s, side] of SIDES.entries()) {
      const { values } = whole.sides[s];
      const tracks = { first: 0, count: whole.count, values };
      for (const name of TRACKS) {
        expect(difference(numbers(body.sides[side].tracks[name]), trackOf(tracks, name))).toBeLessThan(1e-4);
      }
      expect(body.sides[side].events.length).toBe(whole.sides[s].events.length);
      expect(body.sides[side].segments.length).toBeGreaterThan(0);
      expect(body.sides[side].embeddings.values.length).toBe(3);
    }
    for (const name of TURN_TRACKS) {
      const track = turnTrackOf(whole.turns!.tracks, name);
      expect(difference(numbers(body.turns.tracks[name]), track)).toBeLessThan(1e-4);
    }
    expect(whole.turns!.events.length).toBeGreaterThan(1);
    expect(body.turns.events.map(({ at, side }) => [at, side])).toEqual(
      whole.turns!.events.map(({ at, side }) => [at, side]),
    );
    const raw = await post<Conversation>(
      pcm16(interleaved(a, b)),
      `${query}&encoding=pcm_s16&sample_rate=16000&channels=2`,
    );
    expect(raw.body.turns.events).toEqual(body.turns.events);
    const parsed = await lines(bytes, query);
    expect(Object.keys(parsed[0].sides)).toEqual([...SIDES]);
    const of = (type: string) => parsed.filter((line) => line.type === type);
    expect([of('hop').length, of('turn').length]).toEqual([300, 150]);
    expect(of('event').filter(({ event }) => event === 'end_of_turn').length).toBe(body.turns.events.length);
    expect(of('hop')[7].b.speech).toBe(body.sides.b.tracks.speech[7]);
    expect(of('turn')[7].a_200).toBe(body.turns.tracks.a_200[7]);
    const picture = await post<string>(bytes, query, { accept: 'image/svg+xml' });
    expect(picture.body).toMatch(/^<svg .*side a.*side b.*<\/svg>\n$/s);
    const job = await post<{ id: string }>(bytes, `${query}&async=true`);
    const place = job.headers.get('location')!;
    await until(async () => (await call(app, 'GET', place)).status !== 202, 60_000, 'the job');
    expect((await call<Conversation>(app, 'GET', place)).body.turns.events).toEqual(body.turns.events);

    for (const [what, refused, more, field] of [
      ['one channel', file(a), '', 'turns'],
      ['five channels', stereo(new Uint8Array(6400), 5), '', 'turns'],
      ['one raw channel', pcm16(a), '&encoding=pcm_s16&sample_rate=16000', 'channels'],
    ] as const) {
      const answer = await post<{ code: string; field?: string; fix: string }>(refused, `?turns=true${more}`);
      expect([what, answer.status, answer.body.code]).toEqual([what, 422, 'BAD_CHANNELS']);
      expect(JSON.stringify(answer.body)).toContain(field);
    }
    const odd = await post<{ code: string }>(bytes, '?turns=true&turn_delay_ms=500&turn_timeout_ms=100');
    expect([odd.status, odd.body.code]).toEqual([422, 'BAD_OPTION']);
    expect((await post(bytes, '?turns=true&turn_threshold=7')).status).toBe(422);
  });

  it('answers for each kind of broken file', async () => {
    const good = Buffer.from(file(sound(1)));
    const shape = (sampleRate: number, channels: number) =>
      wav({ tag: 1, bits: 16, channels, sampleRate, body: new Uint8Array(6400) });
    const cases: [string, Uint8Array, string, string?][] = [
      ['nothing', new Uint8Array(), 'EMPTY_AUDIO'],
      ['a header', good.subarray(0, 20), 'BAD_AUDIO'],
      [
        'text',
        Buffer.from('this is no audio, but long enough to be looked at as if it were some of it'),
        'UNKNOWN_AUDIO',
      ],
      ['0 Hz', shape(0, 1), 'BAD_SAMPLE_RATE'],
      ['768 kHz', shape(768_000, 1), 'BAD_SAMPLE_RATE'],
      ['64 channels', shape(16_000, 64), 'BAD_CHANNELS'],
      ['raw without a rate', good, 'INVALID_REQUEST', '?encoding=pcm_s16'],
      ['raw at 0 Hz', good, 'BAD_SAMPLE_RATE', '?encoding=pcm_s16&sample_rate=0'],
      ['a form that is none', good, 'BAD_MULTIPART', ''],
    ];
    for (const [what, bytes, code, query] of cases) {
      const headers: Record<string, string> =
        what === 'a form that is none' ? { 'content-type': 'multipart/form-data; boundary=x' } : {};
      const { status, body } = await post<{ code: string; fix: string }>(bytes, query ?? '', headers);
      expect([what, status, body.code]).toEqual([what, 422, code]);
      expect(body.fix).toBeTruthy();
    }
    // Cut off, and with a length that lies: what is there is heard, with a warning.
    const cut = await post(good.subarray(0, 20_001));
    expect(cut.status).toBe(200);
    expect(cut.body.warnings.length).toBeGreaterThan(0);
    expect(cut.body.tracks.speech.length).toBe(Math.floor((20_001 - 44) / 2 / 160));
  });

  it('hears NaN, silence and full-scale noise', async () => {
    const noise = Float32Array.from({ length: 16_000 }, (_, i) => ((i * 7919) % 13 > 6 ? 1 : -1));
    for (const samples of [new Float32Array(16_000), new Float32Array(16_000).fill(Number.NaN), noise]) {
      const { status, body } = await post(
        Buffer.from(samples.buffer),
        '?encoding=float32&sample_rate=16000&tracks=all',
      );
      expect(status).toBe(200);
      for (const values of Object.values(body.tracks)) expect(values.slice(1).every(Number.isFinite)).toBe(true);
    }
  });

  it('makes a job of what is long', async () => {
    const zeros = new Uint8Array(8000 * 330);
    const { status, body, headers } = await post<{ id: string; kind: string }>(
      zeros,
      '?encoding=mulaw&sample_rate=8000&embeddings=60',
    );
    expect([status, body.kind]).toEqual([202, 'listen']);
    const place = headers.get('location')!;
    await until(async () => (await call(app, 'GET', place)).status !== 202, 60_000, 'the job');
    const clip = (await call<Clip>(app, 'GET', `${place}?tracks=speech`)).body;
    expect(clip.tracks.speech.length).toBe(33_000);
    expect(clip.embeddings!.values.length).toBe(6);
    const picture = await call<string>(app, 'GET', place, undefined, { accept: 'image/svg+xml' });
    expect(picture.body).toContain('<svg');
    const bad = await post<{ id: string }>(Buffer.alloc(100), '?async=true');
    const failed = `/v1/jobs/${bad.body.id}`;
    await until(
      async () => (await call<{ status: string }>(app, 'GET', failed)).body.status === 'failed',
      30_000,
      'it',
    );
    expect((await call(app, 'GET', failed)).body).toMatchObject({ error: { code: 'UNKNOWN_AUDIO' } });
  });
});
