import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { trackOf } from '../../../src/audio/model/index.js';
import { SHOWN_TRACKS } from '../../../src/audio/outlook/outlook.js';
import { call, type TestApp } from '../../http/app.js';
import { until } from '../../service/support/processes.js';
import { wav } from '../containers.js';
import { difference, heard, pcm16, type Setting, sound, startSetting } from './setting.js';

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

const file = (samples: Float32Array, sampleRate = 16_000) =>
  wav({ tag: 1, bits: 16, channels: 1, sampleRate, body: pcm16(samples) });
const post = <T = Clip>(body: Uint8Array, query = '', headers: Record<string, string> = {}) =>
  call<T>(app, 'POST', `/v1/audio/clips${query}`, body, { 'content-type': 'application/octet-stream', ...headers });

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
    const lines = await fetch(`${app.address}/v1/audio/clips?tracks=speech,surprise`, {
      method: 'POST',
      body: bytes as never,
      headers: { accept: 'application/x-ndjson' },
    });
    const parsed = (await lines.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
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
