/**
 * All live sessions of this process on one listening process: what came in since the last tick goes over in one message, steps
 * in one batch, and comes back in one. While a tick runs, the next one gathers, so a slow device gets larger batches rather
 * than a longer queue of messages.
 */
import { bytesPerSample } from '../decode/sample-format.js';
import type { HearingProcess } from '../hearing/hearing-process.js';
import type { AudioFormat, SessionItem, SessionOptions, SessionOutput } from '../hearing/protocol.js';

/** Shortest time from tick to tick: a hop. */
const TICK_MS = 10;
/** Audio that every session may bring to a tick, milliseconds: what the listener steps together, row by row. */
const TOGETHER_MS = 40;
/** With more than this waiting, a session has fallen behind and is brought up alone, in long passes. */
const IN_TIME_MS = 300;
/** Audio of those that have fallen behind, or send faster than time goes: of one, and of all together, a tick. */
const BEHIND_MS = 1000;
const ALL_BEHIND_MS = 2000;
/** About what a packet of Opus holds. */
const PACKET_MS = 20;
/** What may wait for a session: beyond it its socket is not read. */
const MAX_WAITING_BYTES = 256 * 1024;
const MAX_WAITING_ITEMS = 2000;

export interface SessionListener {
  onOutput(output: SessionOutput): void;
  /** Less waits than may wait. */
  onRoom(): void;
  /** The listening process is gone, and the session with it. */
  onLost(error: Error): void;
}

/** One session as its connection sees it. */
export class HubSession {
  private items: SessionItem[] = [];
  private waitingBytes = 0;
  private waitingMs = 0;
  private idle: (() => void)[] = [];
  /** Part of a tick that runs. */
  private busy = false;
  private gone: Error | undefined;

  constructor(
    readonly id: number,
    readonly format: AudioFormat,
    private readonly hub: SpeechHub,
    readonly listener: SessionListener,
  ) {}

  /** More waits than should: read no further until `onRoom`. */
  get full(): boolean {
    return this.waitingBytes > MAX_WAITING_BYTES || this.items.length > MAX_WAITING_ITEMS;
  }

  get hasWork(): boolean {
    return this.items.length > 0;
  }

  get isBehind(): boolean {
    return this.waitingMs > IN_TIME_MS;
  }

  push(item: SessionItem): void {
    if (this.gone) return;
    this.items.push(item);
    if (item.kind === 'audio') {
      this.waitingBytes += item.bytes.length;
      this.waitingMs += this.duration(item.bytes);
    }
    this.hub.schedule();
  }

  /** Items in their order, up to so many milliseconds of audio. */
  takeWork(limitMs: number): { items: SessionItem[]; ms: number } {
    const taken: SessionItem[] = [];
    let ms = 0;
    while (this.items.length > 0 && (ms < limitMs || this.items[0].kind !== 'audio')) {
      const item = this.items.shift()!;
      if (item.kind !== 'audio') {
        taken.push(item);
        continue;
      }
      const { bytes, rest } = this.cut(item.bytes, limitMs - ms);
      if (rest) this.items.unshift({ kind: 'audio', bytes: rest });
      taken.push({ kind: 'audio', bytes });
      this.waitingBytes -= bytes.length;
      ms += this.duration(bytes);
    }
    this.waitingMs = this.items.length === 0 ? 0 : this.waitingMs - ms;
    this.busy = true;
    return { items: this.joined(taken), ms };
  }

  /** After a tick it was part of. */
  ticked(output: SessionOutput): void {
    const { full } = this;
    this.busy = false;
    this.listener.onOutput(output);
    if (!full) this.listener.onRoom();
    this.settle();
  }

  lose(error: Error): void {
    if (this.gone) return;
    this.gone = error;
    this.items = [];
    this.busy = false;
    this.settle();
    this.listener.onLost(error);
  }

  /** Resolves when everything that was pushed has been heard and told. */
  async drained(): Promise<void> {
    while (!this.gone && (this.busy || this.hasWork)) await new Promise<void>((done) => this.idle.push(done));
  }

  /** The state of the session, which ends with it. */
  async save(): Promise<Uint8Array> {
    await this.drained();
    if (this.gone) throw this.gone;
    return this.hub.save(this);
  }

  async close(): Promise<void> {
    await this.drained();
    await this.hub.close(this);
  }

  private settle(): void {
    if (!this.gone && (this.busy || this.hasWork)) return;
    for (const done of this.idle.splice(0)) done();
  }

  private duration(bytes: Uint8Array): number {
    return this.format.encoding === 'opus' ? PACKET_MS : bytes.length / this.bytesPerMs;
  }

  private get bytesPerMs(): number {
    const { encoding, sampleRate, channels } = this.format;
    return encoding === 'opus' ? 1 : (sampleRate * channels * bytesPerSample(encoding)) / 1000;
  }

  /** A packet of Opus stays whole. */
  private cut(bytes: Uint8Array, ms: number): { bytes: Uint8Array; rest?: Uint8Array } {
    const most = Math.max(1, Math.floor(ms * this.bytesPerMs));
    if (this.format.encoding === 'opus' || bytes.length <= most) return { bytes };
    return { bytes: bytes.subarray(0, most), rest: bytes.subarray(most) };
  }

  /** Neighbours in one piece: frames of one byte would cost more to send than to hear. */
  private joined(items: SessionItem[]): SessionItem[] {
    if (this.format.encoding === 'opus') return items;
    const out: SessionItem[] = [];
    let parts: Uint8Array[] = [];
    const flush = () => {
      if (parts.length > 0) out.push({ kind: 'audio', bytes: parts.length === 1 ? parts[0] : Buffer.concat(parts) });
      parts = [];
    };
    for (const item of items) {
      if (item.kind === 'audio') parts.push(item.bytes);
      else {
        flush();
        out.push(item);
      }
    }
    flush();
    return out;
  }
}

export class SpeechHub {
  private readonly sessions = new Map<number, HubSession>();
  private nextId = 0;
  private running = false;
  private timer: NodeJS.Timeout | undefined;
  private last = 0;
  /** Sessions that are behind take their turns. */
  private turn = 0;

  constructor(
    private readonly process: Pick<HearingProcess, 'ask'>,
    private readonly onError: (error: unknown) => void,
  ) {}

  get size(): number {
    return this.sessions.size;
  }

  /** @throws AdderErrors of the format, the thresholds, the state or the model */
  async open(
    asked: { format: AudioFormat; options: SessionOptions; saved?: Uint8Array },
    listener: SessionListener,
  ): Promise<{ session: HubSession; model: string; turnModel: string | undefined }> {
    const id = this.nextId++;
    const { format, model, turnModel } = await this.process.ask({ kind: 'open', session: id, ...asked });
    const session = new HubSession(id, format, this, listener);
    this.sessions.set(id, session);
    return { session, model, turnModel };
  }

  /** All sessions are gone with the process that held them. */
  lose(error: Error): void {
    const lost = [...this.sessions.values()];
    this.sessions.clear();
    for (const session of lost) session.lose(error);
  }

  /** @internal */
  schedule(): void {
    if (this.running || this.timer) return;
    const wait = Math.max(0, this.last + TICK_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.tick();
    }, wait);
  }

  /** @internal */
  async save(session: HubSession): Promise<Uint8Array> {
    this.sessions.delete(session.id);
    return this.process.ask({ kind: 'save', session: session.id });
  }

  /** @internal */
  async close(session: HubSession): Promise<void> {
    if (this.sessions.delete(session.id)) await this.process.ask({ kind: 'close', session: session.id });
  }

  private async tick(): Promise<void> {
    this.running = true;
    this.last = performance.now();
    const work = this.gather();
    try {
      if (work.length === 0) return;
      const outputs = await this.process.ask({ kind: 'tick', work });
      for (const output of outputs) this.sessions.get(output.session)?.ticked(output);
    } catch (error) {
      this.onError(error);
      // What became of the step is not known, so nothing of it can be told.
      for (const { session } of work) {
        const lost = this.sessions.get(session);
        this.sessions.delete(session);
        lost?.lose(error as Error);
      }
    } finally {
      this.running = false;
      if ([...this.sessions.values()].some(({ hasWork }) => hasWork)) this.schedule();
    }
  }

  /** Those in time step together; those behind share what a tick may take beside them. */
  private gather(): { session: number; items: SessionItem[] }[] {
    const ready = [...this.sessions.values()].filter(({ hasWork }) => hasWork);
    const out = ready
      .filter(({ isBehind }) => !isBehind)
      .map((session) => ({ session: session.id, items: session.takeWork(TOGETHER_MS).items }));
    const behind = ready.filter(({ isBehind }) => isBehind);
    let left = ALL_BEHIND_MS;
    const begin = this.turn;
    for (let i = 0; i < behind.length && left > 0; i++) {
      const session = behind[(begin + i) % behind.length];
      const { items, ms } = session.takeWork(Math.min(left, BEHIND_MS));
      out.push({ session: session.id, items });
      left -= ms;
      this.turn = (begin + i + 1) % behind.length;
    }
    return out;
  }
}
