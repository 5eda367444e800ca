/** Clients of live speech: many sessions that send real speech in real time, and how long each number takes to come back. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { sleep } from '../live/setup.js';

/** Samples of a hop at 16 kHz, and bytes of a sample. */
const HOP = 160;
const BYTES = 2;

export interface LoadOptions {
  sessions: number;
  /** Of audio in one message. */
  frameMs: number;
  /** Two are the sides of a conversation, with a turn outlook. */
  channels: 1 | 2;
  /** What is measured, after `warmUp` seconds that do not count. */
  seconds: number;
  warmUp: number;
  /** Told when what counts begins and ends. */
  onBegin(): void;
  onEnd(): void;
}

export interface LoadResult {
  /** Milliseconds from the message that completed a hop to its row, sorted. */
  rows: Float64Array;
  /** The same to events, from the hop at which they became known. */
  events: Float64Array;
  /** Share of the rows due that came within a second. */
  inTime: number;
  /** Milliseconds by which the messages themselves were sent too late, sorted. */
  late: Float64Array;
}

/** Latencies of one run, in a store that does not grow under it. */
class Latencies {
  private readonly values: Float64Array;
  private count = 0;

  constructor(most: number) {
    this.values = new Float64Array(most);
  }

  add(ms: number): void {
    if (this.count < this.values.length) this.values[this.count++] = ms;
  }

  sorted(): Float64Array {
    return this.values.slice(0, this.count).sort();
  }
}

/**
 * Message k of all goes to session k mod N at k/N of a frame, so the sessions never speak at once.
 *
 * @param speech 16-bit samples at 16 kHz, interleaved; every session begins elsewhere in it and goes round
 */
export async function liveLoad(address: string, speech: Int16Array, options: LoadOptions): Promise<LoadResult> {
  const { sessions, frameMs, channels, seconds, warmUp } = options;
  const query = channels === 2 ? '?channels=2&turns=true' : '';
  const frameSamples = 16 * frameMs;
  const frames = Math.round(((warmUp + seconds) * 1000) / frameMs);
  const firstFrame = Math.round((warmUp * 1000) / frameMs);
  const bytes = Buffer.from(speech.buffer, speech.byteOffset, speech.byteLength);
  const frameBytes = frameSamples * BYTES * channels;
  const round = Math.floor(bytes.length / frameBytes);
  const rows = new Latencies(((sessions * seconds * 16_000) / HOP) * 2);
  const events = new Latencies(sessions * seconds * 50);
  const late = new Latencies(sessions * frames);
  let inTime = 0;

  const open = async (s: number) => {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/v1/audio/live${query}`);
    const sentAt = new Float64Array(frames);
    const since = (row: number) => {
      const frame = Math.floor(((row + 1) * HOP - 1) / frameSamples);
      return frame >= firstFrame && frame < frames ? performance.now() - sentAt[frame] : undefined;
    };
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) {
        if (data.toString('latin1', 0, 4) !== 'ADS1') return;
        const count = data.readUInt32LE(4);
        const first = data.readDoubleLE(8);
        for (let i = 0; i < count; i++) {
          const ms = since(first + i);
          if (ms === undefined) continue;
          rows.add(ms);
          if (ms <= 1000) inTime++;
        }
      } else if (data.subarray(0, 16).includes('"event"')) {
        const ms = since(JSON.parse(data.toString()).sample / HOP - 1);
        if (ms !== undefined) events.add(ms);
      }
    });
    await once(socket, 'open');
    const start = Math.floor((s * round) / sessions);
    const send = (frame: number) => {
      const at = ((start + frame) % round) * frameBytes;
      sentAt[frame] = performance.now();
      socket.send(bytes.subarray(at, at + frameBytes));
    };
    return { socket, send };
  };
  const clients = await Promise.all(Array.from({ length: sessions }, (_, s) => sleep(s * 10).then(() => open(s))));
  const begin = performance.now() + 200;
  for (let k = 0; k < sessions * frames; k++) {
    if (k === sessions * firstFrame) options.onBegin();
    const due = begin + (k * frameMs) / sessions;
    const ahead = due - performance.now();
    if (ahead > 0) await sleep(ahead);
    // One that is late must not forget to read.
    else if (k % 16 === 0) await new Promise((done) => setImmediate(done));
    clients[k % sessions].send(Math.floor(k / sessions));
    if (k >= sessions * firstFrame) late.add(performance.now() - due);
  }
  options.onEnd();
  await sleep(1500);
  await Promise.all(
    clients.map(async ({ socket }) => {
      const closed = once(socket, 'close');
      socket.terminate();
      await closed;
    }),
  );
  const due = sessions * Math.floor((seconds * 16_000) / HOP);
  return { rows: rows.sorted(), events: events.sorted(), inTime: inTime / due, late: late.sorted() };
}
