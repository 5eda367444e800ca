/** A service that listens with a small model, sounds for it, and a client of its WebSocket. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { loadSpeechModel, type Scan, scanRecording, TRACKS, writeSpeechModel } from '../../../src/audio/model/index.js';
import { speechParameters } from '../../../src/audio/model/network.js';
import { type HeardChannels, hearChannels } from '../../../src/audio/outlook/hear.js';
import { type EndOfTurnOptions, loadTurnModel } from '../../../src/audio/turns/index.js';
import { Random } from '../../../src/engine/random.js';
import { ParameterLayout } from '../../../src/engine/training/arena.js';
import { startApp, type TestApp } from '../../http/app.js';

const config = {
  version: 1 as const,
  architecture: 'mamba2-speech' as const,
  inputs: 83 as const,
  dModel: 24,
  layers: 2,
  expand: 2,
  headDim: 16,
  dState: 8,
  convWidth: 4,
  normEps: 1e-6,
};

/** Writes a model whose numbers move with the sound, as training would make them. */
export function writeSmallModel(folder: string): void {
  const specs = speechParameters(config);
  const layout = new ParameterLayout(specs);
  const random = new Random(3);
  const values = layout.initial(random);
  for (const { name, shape, offset } of layout.places) {
    if (!/^(events|spectrum\.(mean|precision))\.weight$/.test(name)) continue;
    for (let i = 0; i < shape[0] * shape[1]; i++) values[offset + i] = 0.4 * random.normal();
  }
  writeSpeechModel(folder, specs, values, { name: 'small', config });
}

/** Bursts of tones and noise. */
export function sound(seconds: number, seed = 1, rate = 16_000): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: Math.round(seconds * rate) }, (_, i) => {
    const loud = Math.floor((i / rate) * 3.2 + seed) % 3 === 0 ? 0.3 : 0.01;
    return loud * (Math.sin((i / rate) * (900 + 300 * seed)) + random.uniform(-1, 1));
  });
}

export const pcm16 = (samples: Float32Array): Buffer =>
  Buffer.from(Int16Array.from(samples, (x) => Math.round(x * 32_767)).buffer);

/** Two channels, sample by sample in turn. */
export const interleaved = (a: Float32Array, b: Float32Array): Float32Array =>
  Float32Array.from({ length: 2 * a.length }, (_, i) => (i % 2 ? b : a)[i >> 1]);

/** What the listener makes of 16-bit samples. */
export const heard = (samples: Float32Array): Float32Array =>
  Float32Array.from(samples, (x) => Math.round(x * 32_767) / 32_768);

export interface Setting {
  app: TestApp;
  folder: string;
  scan(samples: Float32Array): Promise<Scan>;
  /** What the two sides of a conversation are, with the turn model that is shipped. */
  converse(a: Float32Array, b: Float32Array, options?: Partial<EndOfTurnOptions>): Promise<HeardChannels>;
  stop(): Promise<void>;
}

export async function startSetting(env: Record<string, string> = {}): Promise<Setting> {
  const folder = mkdtempSync(join(tmpdir(), 'adder-speech-'));
  writeSmallModel(join(folder, 'model'));
  const app = await startApp({ ADDER_SPEECH_MODEL: join(folder, 'model'), ADDER_BACKEND: 'wasm', ...env });
  const model = await loadSpeechModel(join(folder, 'model'), 'wasm');
  const turnModel = await loadTurnModel(undefined, model.backend);
  return {
    app,
    folder,
    scan: (samples) => scanRecording(model, samples),
    converse: (a, b, options = {}) => hearChannels(model, [a, b], { turns: { model: turnModel, options } }),
    stop: async () => {
      await app.stop();
      await turnModel.close();
      await model.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export interface Message {
  type: string;
  [field: string]: unknown;
}

/** A client that remembers everything it was sent. */
export class SpeechClient {
  readonly messages: Message[] = [];
  /** Rows by index, as many columns as the session gives. */
  readonly rows = new Map<number, Float32Array>();
  /** The same of the turn outlook. */
  readonly turns = new Map<number, Float32Array>();
  code: number | undefined;
  reason = '';
  private wake: (() => void)[] = [];

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.read(data);
      else this.messages.push(JSON.parse(data.toString()));
      this.notify();
    });
    socket.on('close', (code, reason) => {
      this.code = code;
      this.reason = reason.toString();
      this.notify();
    });
    socket.on('error', () => {});
  }

  /** Rejects with the status and the problem where the service refuses. */
  static async open(app: Pick<TestApp, 'address'>, query = ''): Promise<SpeechClient> {
    const socket = new WebSocket(`${app.address.replace('http', 'ws')}/v1/audio/live${query && `?${query}`}`);
    const refused = new Promise<never>((_, fail) => {
      socket.once('unexpected-response', (_request, response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => fail(Object.assign(new Error(body), { status: response.statusCode })));
      });
    });
    const client = new SpeechClient(socket);
    await Promise.race([once(socket, 'open'), refused]);
    await client.until(() => client.messages.length > 0);
    return client;
  }

  get begin(): Message {
    return this.messages[0];
  }

  of(type: string): Message[] {
    return this.messages.filter((message) => message.type === type);
  }

  send(message: object | Uint8Array): void {
    this.socket.send(message instanceof Uint8Array ? message : JSON.stringify(message));
  }

  /** Bytes in frames of the sizes given, in turn. */
  sendCut(bytes: Uint8Array, sizes: readonly number[]): void {
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length];
      this.send(bytes.subarray(at, at + size));
      at += size;
    }
  }

  async until(done: () => boolean, ms = 30_000): Promise<void> {
    const end = Date.now() + ms;
    while (!done()) {
      if (Date.now() > end) {
        throw new Error(`this did not come; the last messages: ${JSON.stringify(this.messages.slice(-3))}`);
      }
      await new Promise<void>((wake) => {
        this.wake.push(wake);
        setTimeout(wake, 200);
      });
    }
  }

  async flushed(): Promise<void> {
    const before = this.of('flushed').length;
    this.send({ type: 'flush' });
    await this.until(() => this.of('flushed').length > before);
  }

  /** Says close and gives the summary. */
  async finish(): Promise<Message> {
    this.send({ type: 'close' });
    await this.until(() => this.code !== undefined);
    return this.of('summary')[0];
  }

  /** All rows so far, [count, columns]; they must be without a gap. */
  values(rows = this.rows): Float32Array {
    const parts: number[] = [];
    for (let i = 0; i < rows.size; i++) parts.push(...rows.get(i)!);
    return Float32Array.from(parts);
  }

  private read(frame: Buffer): void {
    const kind = frame.toString('latin1', 0, 4);
    if (kind !== 'ADS1' && kind !== 'ADT1') throw new Error('no frame of ours');
    const count = frame.readUInt32LE(4);
    const first = frame.readDoubleLE(8);
    const columns = (frame.length - 16) / 4 / count;
    for (let i = 0; i < count; i++) {
      const row = Float32Array.from({ length: columns }, (_, c) => frame.readFloatLE(16 + 4 * (i * columns + c)));
      (kind === 'ADS1' ? this.rows : this.turns).set(first + i, row);
    }
  }

  private notify(): void {
    for (const wake of this.wake.splice(0)) wake();
  }
}

/** Largest difference of two tables, NaN equal to NaN. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) && Number.isNaN(b[i])) continue;
    const d = Math.abs(a[i] - b[i]) / Math.max(1, Math.abs(b[i]));
    if (!(d <= most)) most = d;
  }
  return most;
}

export const COLUMNS = TRACKS.length;
