/** Two-channel audio and messages of people who mean no good: errors that say what is wrong, no crash, bounded memory. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { call, childrenOf } from '../../http/app.js';
import { wav } from '../containers.js';
import { interleaved, pcm16, type Setting, SpeechClient, sound, startSetting } from './setting.js';

const TURNS = 'channels=2&turns=true&interim_ms=10';

let setting: Setting;
beforeAll(async () => {
  setting = await startSetting();
});
afterAll(() => setting?.stop());

const bytesOf = fc.uint8Array({ minLength: 1, maxLength: 3000 });
const oddFloats = fc
  .array(fc.constantFrom(Number.NaN, Infinity, -Infinity, 3e38, -0, 1, -1, 1e-40), { minLength: 1, maxLength: 800 })
  .map((values) => new Uint8Array(Float32Array.from(values).buffer));
const wildText = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.json({ maxDepth: 3 }),
  fc
    .record({
      type: fc.constantFrom('configure', 'flush', 'keep_alive', 'shout'),
      turns: fc.oneof(
        fc.anything({ maxDepth: 1 }),
        fc.record({ threshold: fc.double(), delayMs: fc.double(), timeoutMs: fc.double() }, { requiredKeys: [] }),
      ),
      events: fc.anything({ maxDepth: 1 }),
    })
    .map((message) => JSON.stringify(message, (_, v) => (typeof v === 'bigint' ? String(v) : v))),
);

describe('hostile two-channel audio', () => {
  it('answers whatever a live client sends with numbers or with errors that say what to do', async () => {
    const message = fc.oneof(bytesOf, oddFloats, wildText);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('float32', 'pcm_s16', 'pcm_s24', 'alaw', 'opus'),
        fc.array(message, { maxLength: 30 }),
        async (encoding, messages) => {
          const client = await SpeechClient.open(setting.app, `${TURNS}&encoding=${encoding}`);
          for (const each of messages) client.socket.send(each);
          await client.flushed();
          for (const error of client.of('error')) {
            expect(error).toMatchObject({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.any(String) });
            expect(error.code).not.toBe('INTERNAL');
          }
          // The first row has no forecast to be surprised at; a shift is told in silence only.
          for (const row of [...client.rows].filter(([i]) => i > 0).map(([, values]) => values)) {
            expect(row.every(Number.isFinite)).toBe(true);
          }
          for (const row of client.turns.values())
            expect(row.subarray(0, -1).every((p) => p >= 0 && p <= 1)).toBe(true);
          expect(client.turns.size).toBe(client.rows.size >> 1);
          await client.finish();
          expect(client.code).toBe(1000);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('stays small through an hour of zeros sent at once and a client that never reads', async () => {
    const server = childrenOf(setting.app.process.child.pid!, 'main.ts')[0];
    const resident = (pid: number) =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
    const client = await SpeechClient.open(setting.app, `${TURNS}&encoding=alaw&sample_rate=4000`);
    client.send(pcm16(interleaved(sound(1), sound(1, 2))));
    await client.flushed();
    const processes = [server, ...childrenOf(server, 'hearing-child')];
    const before = processes.map(resident);
    client.socket.pause();
    const chunk = Buffer.alloc(80_000, 0xd5);
    const end = Date.now() + 8000;
    for (let sent = 0; sent < 360 && Date.now() < end && client.socket.readyState === client.socket.OPEN; ) {
      if (client.socket.bufferedAmount < 2 ** 20) {
        client.send(chunk);
        sent++;
      } else await new Promise((wake) => setTimeout(wake, 5));
    }
    processes.forEach((pid, i) => {
      expect(resident(pid) - before[i]).toBeLessThan(150);
    });
    client.socket.resume();
    client.socket.terminate();
    const next = await SpeechClient.open(setting.app, TURNS);
    next.send(pcm16(interleaved(sound(1), sound(1, 2))));
    expect(await next.finish()).toMatchObject({ rows: 100 });
  });

  it('answers for whatever stereo file it is given', async () => {
    const body = pcm16(interleaved(sound(1), sound(1, 2)));
    const good = Buffer.from(wav({ tag: 1, bits: 16, channels: 2, sampleRate: 16_000, body }));
    const damage = fc.oneof(
      fc.nat(good.length).map((length) => good.subarray(0, length)),
      fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { minLength: 1, maxLength: 6 }).map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      }),
      fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(damage, async (bytes) => {
        const headers = { 'content-type': 'application/octet-stream' };
        const answer = await call<{ code?: string; fix?: string; turns?: object }>(
          setting.app,
          'POST',
          '/v1/audio/clips?turns=true',
          new Uint8Array(bytes),
          headers,
        );
        if (answer.status === 200) expect(answer.body.turns).toBeDefined();
        else {
          expect([answer.status, answer.body.code]).toEqual([422, expect.stringMatching(/AUDIO|CHANNELS|RATE/)]);
          expect(answer.body.fix).toBeTruthy();
        }
      }),
      { numRuns: 60 },
    );
  });
});
