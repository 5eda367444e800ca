import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { loadSpeechModel, scanRecording, trackOf } from '../../../src/audio/model/index.js';
import { hearChannels } from '../../../src/audio/outlook/hear.js';
import { SHOWN_TRACKS } from '../../../src/audio/outlook/outlook.js';
import { loadTurnModel, turnTrackOf } from '../../../src/audio/turns/index.js';
import { main } from '../../../src/cli.js';
import { wav } from '../containers.js';
import { difference, heard, interleaved, pcm16, sound, writeSmallModel } from './setting.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'adder-listen-'));
  writeSmallModel(join(dir, 'model'));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** Runs `adder listen` with the small model and catches what it prints. */
async function listen(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const catching = (stream: NodeJS.WriteStream, key: 'out' | 'err') =>
    jest.spyOn(stream, 'write').mockImplementation((text) => {
      said[key] += String(text);
      return true;
    });
  const spies = [catching(process.stdout, 'out'), catching(process.stderr, 'err')];
  try {
    const code = await main(['listen', ...args, '--model', join(dir, 'model'), '--backend', 'wasm']);
    return { code, ...said };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const write = (name: string, bytes: Uint8Array) => {
  writeFileSync(join(dir, name), bytes);
  return join(dir, name);
};
const recording = (samples: Float32Array, sampleRate = 16_000, channels = 1) =>
  wav({ tag: 1, bits: 16, channels, sampleRate, body: pcm16(samples) });

describe('adder listen', () => {
  it('writes the tracks that a listener has when each hop ends, draws them, and prints a view', async () => {
    const samples = sound(3);
    const file = write('a.wav', recording(samples));
    const { code, out, err } = await listen(file, '--out', join(dir, 'a.json'), '--svg', join(dir, 'a.svg'));
    expect(code).toBe(0);
    expect(err).toContain('wrote ');
    const written = JSON.parse(readFileSync(join(dir, 'a.json'), 'utf8'));
    expect(Object.keys(written)).toEqual(['sampleRate', 'hopMs', 'tracks', 'events']);
    expect([written.sampleRate, written.hopMs]).toEqual([16_000, 10]);
    expect(Object.keys(written.tracks)).toEqual([...SHOWN_TRACKS]);
    const model = await loadSpeechModel(join(dir, 'model'), 'wasm');
    const { tracks } = await scanRecording(model, heard(samples));
    await model.close();
    for (const name of SHOWN_TRACKS) {
      expect(difference(written.tracks[name], trackOf(tracks, name))).toBeLessThan(1e-4);
    }
    expect(written.events.length).toBeGreaterThan(2);
    expect(readFileSync(join(dir, 'a.svg'), 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s);
    // A heading, a blank line, the names of the columns, and 30 lines of a tenth of a second (or 60).
    expect(out.split('\n')[0]).toMatch(/^a\.wav: 3\.00 s/);
    expect(out.split('\n').length).toBe(3 + 30 + 1);
    expect(out).toContain(' start ');
  });

  it('hears the two sides of a conversation', async () => {
    const [a, b] = [sound(3, 1), sound(3, 2)];
    const file = write('two.wav', recording(interleaved(a, b), 16_000, 2));
    const eager = ['--turns', '--turn-threshold', '0.1', '--turn-delay', '60', '--turn-timeout', '400'];
    const { code, out } = await listen(file, ...eager, '--out', join(dir, 'two.json'), '--svg', join(dir, 'two.svg'));
    expect(code).toBe(0);
    const written = JSON.parse(readFileSync(join(dir, 'two.json'), 'utf8'));
    const model = await loadSpeechModel(join(dir, 'model'), 'wasm');
    const turnModel = await loadTurnModel(undefined, model.backend);
    const options = { threshold: 0.1, delayMs: 60, timeoutMs: 400 };
    const whole = await hearChannels(model, [heard(a), heard(b)], { turns: { model: turnModel, options } });
    await turnModel.close();
    await model.close();
    const speech = trackOf({ first: 0, count: whole.count, values: whole.sides[1].values }, 'speech');
    expect(difference(written.sides.b.tracks.speech, speech)).toBeLessThan(1e-4);
    expect(difference(written.turns.tracks.b_600, turnTrackOf(whole.turns!.tracks, 'b_600'))).toBeLessThan(1e-4);
    expect(whole.turns!.events.length).toBeGreaterThan(1);
    expect(written.turns.events.map(({ at }: { at: number }) => at)).toEqual(whole.turns!.events.map(({ at }) => at));
    expect(out).toContain('end of turn');
    expect(readFileSync(join(dir, 'two.svg'), 'utf8')).toContain('two.wav: side b');
    for (const [args, words] of [
      [[write('one.wav', recording(a)), '--turns'], 'BAD_CHANNELS'],
      [[file, '--turn-delay', '60'], 'add --turns'],
      [[file, '--turns', '--turn-delay', 'soon'], 'no number'],
      [[file, '--turns', '--turn-threshold', '3'], 'BAD_OPTION'],
    ] as const) {
      const refused = await listen(...args);
      expect([refused.code, refused.err]).toEqual([2, expect.stringContaining(words)]);
    }
  });

  it('says in one line what is wrong with a file', async () => {
    const good = Buffer.from(recording(sound(1)));
    for (const [name, bytes, code] of [
      ['empty.wav', new Uint8Array(), 'EMPTY_AUDIO'],
      ['head.wav', good.subarray(0, 30), 'BAD_AUDIO'],
      ['text.wav', Buffer.from('x'.repeat(200)), 'UNKNOWN_AUDIO'],
      ['zero.wav', recording(sound(0.1), 0), 'BAD_SAMPLE_RATE'],
      ['fast.wav', recording(sound(0.1), 768_000), 'BAD_SAMPLE_RATE'],
      ['many.wav', recording(sound(0.1), 16_000, 64), 'BAD_CHANNELS'],
    ] as const) {
      const { code: exit, err, out } = await listen(write(name, bytes));
      expect([name, exit, out]).toEqual([name, 2, '']);
      expect(err).toMatch(new RegExp(`^error \\[${code}\\] .*${name}.*; fix: .*\\n$`));
    }
    expect((await listen(join(dir, 'none.wav'))).err).toContain('FILE_NOT_FOUND');
    expect((await listen(dir)).err).toContain('NOT_A_FILE');
    expect((await listen()).err).toContain('the recording is missing');
    expect((await listen(write('b.wav', good), '--out', join(dir, 'b.txt'))).err).toContain('BAD_OPTION');
  });

  it('hears what is there of a file that is cut off, and says so', async () => {
    const good = Buffer.from(recording(sound(2)));
    const { code, err, out } = await listen(write('cut.wav', good.subarray(0, 32_001)));
    expect([code, out.includes('cut.wav: 1.00 s')]).toEqual([0, true]);
    expect(err).toContain('notice: ');
  });

  it('hears less than a hop as nothing', async () => {
    const { code } = await listen(write('short.wav', recording(sound(0.005))), '--out', join(dir, 'short.json'));
    expect(code).toBe(0);
    expect(JSON.parse(readFileSync(join(dir, 'short.json'), 'utf8')).tracks.speech).toEqual([]);
  });
});
