import type { ForecastRequest, ForecastResult, RollRequest, RollResult } from '../../forecast/forecaster.js';
import type { ForecastEngine } from '../../forecast/rest/forecast-engine.js';
import { unlessAborted } from '../../platform/abort.js';
import type { Config } from '../../platform/config.js';
import { AdderError } from '../../platform/errors.js';
import { siblingModule } from '../../platform/sibling-module.js';
import { BatchQueue, isPatient, type Waiting } from './batch-queue.js';
import { InferenceProcess, ProcessEnded } from './inference-process.js';
import type { ModelInfo, Reply, SentError, WorkKind, Works } from './protocol.js';

export interface InferenceOptions {
  config: Pick<Config, 'model' | 'stack' | 'backend' | 'inference'>;
  /** Told about every batch that was answered. */
  onBatch?: (batch: { model: string; size: number; waitMs: number; computeMs: number }) => void;
  /** Told when the process ended without being asked to. */
  onRestart?: (reason: string) => void;
  /** Lines of the process' standard error. */
  onLine?: (line: string) => void;
  /** Where the files of a model lie that is no name of the catalogue; throws `UNKNOWN_MODEL`. */
  locate?: (model: string) => Promise<string>;
  /** How the process is started; by default the file beside this one, as this one was started. */
  child?: { file: string; execArgv: string[] };
}

export interface ForecastCall {
  /** The configured model when absent. */
  model?: string | undefined;
  /** Requests whose turn has not come by then are refused with `DEADLINE_EXCEEDED`. */
  deadline?: Date | undefined;
  /** 1 is the most urgent; 10 by default. */
  priority?: number | undefined;
  /** Requests whose turn has not come when this aborts are dropped. */
  signal?: AbortSignal | undefined;
}

/** Too much waits already. `retryAfter` seconds from now about half of it will be done. */
export class Overloaded extends AdderError {
  constructor(
    waiting: number,
    readonly retryAfter: number,
  ) {
    super({
      code: 'OVERLOADED',
      message: `${waiting} series wait for a forecast already`,
      fix: `try again in ${retryAfter} s, or raise ADDER_BATCH_QUEUE`,
    });
  }
}

/** Starts in a row that end before any answer, after which those who wait are told so. */
const FUTILE_STARTS = 4;

/** Pause before the process is started again: none after a single death, growing while it dies without having answered. */
const pauseMs = (futile: number) => (futile === 0 ? 0 : Math.min(5000, 100 * 3 ** (futile - 1)));

/** An idle process is asked for a sign of life this often, and may take this long: it may be reading weights. */
const PING_EVERY_MS = 10_000;
const PING_TIMEOUT_MS = 30_000;
const CLOSE_MS = 5000;

/** Time that a batch that somebody waits for, and a portion of patient work, shall take, seconds. */
const BATCH_S = 2;
const PORTION_S = 0.3;

/** Weight of a batch, however slow the model: the first one of a process also reads the weights. */
const LEAST = 8;

/** Models whose last run is remembered. */
const MAX_RAN = 256;

/** Deadlines of those who wait behind a long batch are looked at this often. */
const LATE_EVERY_MS = 250;

/**
 * Forecasts in a child process. Requests of all callers share batches: a batch leaves as soon as the process is free and the
 * batch is full or its first request has waited long enough. When the process dies, is killed or stands still, it is started
 * again and the batch is tried again: forecasts have no side effects.
 */
export class InferenceClient implements ForecastEngine {
  private readonly queue = new BatchQueue();
  private process: InferenceProcess | undefined;
  private computing: readonly Waiting[] = [];
  private timer: NodeJS.Timeout | undefined;
  private readonly timers: NodeJS.Timeout[];
  private futile = 0;
  private startAt = 0;
  private closed = false;
  private lastEnd = '';
  /** Weight computed in a second, smoothed, by model and kind of work: they differ by orders of magnitude. */
  private readonly rates = new Map<string, number>();
  /** What ran each model last; as many as the process holds, and a few that it held. */
  private readonly ran = new Map<string, ModelInfo>();

  constructor(private readonly options: InferenceOptions) {
    this.timers = [setInterval(() => this.ping(), PING_EVERY_MS), setInterval(() => this.refuseLate(), LATE_EVERY_MS)];
    for (const timer of this.timers) timer.unref();
  }

  /** Requests that wait, and requests that are being computed. */
  get load(): { waiting: number; computing: number } {
    return { waiting: this.queue.size, computing: this.computing.length };
  }

  /** Process id of the child while it lives. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  /**
   * Results in the order of the requests. Throws AdderErrors: those of the forecaster, `OVERLOADED` (with `retryAfter`) when
   * too much waits already, `DEADLINE_EXCEEDED`, `INFERENCE_LOST` when the process died of it again and again; and the
   * reason of `signal`.
   */
  async forecast(requests: ForecastRequest[], call: ForecastCall = {}): Promise<ForecastResult[]> {
    return this.together('forecast', requests, call, (results) => Promise.all(results));
  }

  /** As `forecast`, but a request that fails does so alone. Throws `OVERLOADED`, and when all of them fail. */
  forecastEach(requests: ForecastRequest[], call: ForecastCall = {}): Promise<PromiseSettledResult<ForecastResult>[]> {
    return this.together('forecast', requests, call, async (results) => {
      const settled = await Promise.allSettled(results);
      call.signal?.throwIfAborted();
      const first = settled[0];
      if (first?.status === 'rejected' && settled.every(({ status }) => status === 'rejected')) throw first.reason;
      return settled;
    });
  }

  /** Forecasts from many origins of each history, of a model whose `describe` has a `rollStep`. Throws as `forecast` does. */
  roll(requests: RollRequest[], call: ForecastCall = {}): Promise<RollResult[]> {
    return this.together('roll', requests, call, (results) => Promise.all(results));
  }

  private async together<K extends WorkKind, T>(
    kind: K,
    requests: Works[K]['request'][],
    call: ForecastCall,
    wait: (results: Promise<Works[K]['result']>[]) => Promise<T>,
  ): Promise<T> {
    const model = await this.locate(call.model);
    call.signal?.throwIfAborted();
    if (this.closed) throw lost('the service is stopping');
    const { queueSize } = this.options.config.inference;
    // A single call may be larger than the queue when nothing else waits.
    if (this.queue.size > 0 && this.queue.size + requests.length > queueSize) {
      throw new Overloaded(this.queue.size, this.retryAfter());
    }
    const mine = new Set<Waiting>();
    const since = performance.now();
    const results = requests.map(
      (request) =>
        new Promise<Works[K]['result']>((resolve, reject) => {
          const item: Waiting = {
            model,
            kind,
            request,
            weight: weightOf(kind, request),
            priority: call.priority ?? 10,
            since,
            deadline: call.deadline?.getTime() ?? Number.POSITIVE_INFINITY,
            crashes: 0,
            resolve,
            reject,
          };
          mine.add(item);
          this.queue.push(item);
        }),
    );
    const abort = () => this.drop((item) => mine.has(item), call.signal?.reason);
    call.signal?.addEventListener('abort', abort);
    this.pump();
    try {
      return await wait(results);
    } catch (error) {
      // The others of this call are of no use any more.
      this.drop((item) => mine.has(item), error);
      throw error;
    } finally {
      call.signal?.removeEventListener('abort', abort);
    }
  }

  /** What ran the last batch of a model; undefined when there was none lately. */
  async lastRun(model: string): Promise<ModelInfo | undefined> {
    return this.ran.get(await this.locate(model));
  }

  /** The name or folder of a model, as `locate` of the options says; the configured one when absent. */
  async locate(model = this.options.config.model): Promise<string> {
    return this.options.locate ? this.options.locate(model) : model;
  }

  /** Loads the model if need be and says what runs it. Throws `UNKNOWN_MODEL`, `INFERENCE_LOST`, the reason of `signal`. */
  async describe(model?: string, signal?: AbortSignal): Promise<ModelInfo> {
    const reply = await this.question({ kind: 'describe', model: await this.locate(model) }, signal);
    if (reply.kind !== 'describe') throw lost('the inference process answered another question');
    return reply.info;
  }

  /** Forecasts a known series and compares; throws `SELF_TEST` when the answer is not what it must be. */
  async selfTest(signal?: AbortSignal): Promise<void> {
    await this.question({ kind: 'self-test', model: this.options.config.model }, signal);
  }

  /** Refuses what waits, lets the process end. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    for (const timer of this.timers) clearInterval(timer);
    this.drop(() => true, lost('the service is stopping'));
    await this.process?.close(CLOSE_MS);
  }

  /** The answer is not waited for any longer when `signal` aborts; the process cannot be told. */
  private async question(ask: { kind: 'describe' | 'self-test'; model: string }, signal?: AbortSignal): Promise<Reply> {
    signal?.throwIfAborted();
    return unlessAborted(this.answer(ask), signal);
  }

  private async answer(ask: { kind: 'describe' | 'self-test'; model: string }): Promise<Reply> {
    for (let attempt = 0; ; attempt++) {
      if (this.closed) throw lost('the service is stopping');
      try {
        await this.pause();
        const reply = await this.open().ask(ask, this.options.config.inference.timeoutMs);
        this.futile = 0;
        if (reply.kind === 'error') throw received(reply.error);
        return reply;
      } catch (error) {
        if (!(error instanceof ProcessEnded)) throw error;
        if (attempt >= this.options.config.inference.restarts) throw lost(error.message);
      }
    }
  }

  /** Sends the next batch if it is time, or sets the alarm for when it will be. */
  private pump(): void {
    if (this.closed || this.computing.length > 0) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.refuseLate();
    const first = this.queue.next();
    if (!first) return;
    const { batchSize, batchDelayMs } = this.options.config.inference;
    // Whoever comes meanwhile waits for the whole batch, so none is long, and what nobody waits for comes in small portions.
    const rate = this.rates.get(rateKey(first));
    const portion = isPatient(first)
      ? Math.max(LEAST, (rate ?? 0) * PORTION_S)
      : Math.max(LEAST, (rate ?? batchSize) * BATCH_S);
    const size = Math.min(batchSize, portion);
    const full = this.queue.size >= batchSize || first.crashes > 0;
    const wait = Math.max(full ? 0 : first.since + batchDelayMs - performance.now(), this.startAt - performance.now());
    if (wait > 0) this.timer = setTimeout(() => this.pump(), wait);
    else void this.compute(this.queue.take(size));
  }

  private async compute(batch: Waiting[]): Promise<void> {
    this.computing = batch;
    const { model, kind } = batch[0]!;
    const begin = performance.now();
    try {
      const requests = batch.map(({ request }) => request);
      const { timeoutMs } = this.options.config.inference;
      const reply = await this.open().ask({ kind, model, requests }, timeoutMs);
      const computeMs = performance.now() - begin;
      this.futile = 0;
      this.settle(batch, reply);
      const now = (batch.reduce((sum, { weight }) => sum + weight, 0) / computeMs) * 1000;
      const key = rateKey(batch[0]!);
      const before = this.rates.get(key);
      if (this.rates.size >= MAX_RAN) this.rates.clear();
      this.rates.set(key, before === undefined ? now : (before + now) / 2);
      this.options.onBatch?.({ model, size: batch.length, waitMs: begin - batch[0]!.since, computeMs });
    } catch (error) {
      this.again(batch, error as Error);
    } finally {
      this.computing = [];
      this.pump();
    }
  }

  private settle(batch: readonly Waiting[], reply: Reply): void {
    if ('answers' in reply && reply.kind === batch[0]!.kind && reply.answers.length === batch.length) {
      if (this.ran.size >= MAX_RAN) this.ran.clear();
      this.ran.set(batch[0]!.model, reply.info);
      batch.forEach((item, i) => {
        const answer = reply.answers[i]!;
        if ('result' in answer) item.resolve(answer.result as never);
        else item.reject(received(answer.error));
      });
      return;
    }
    const error =
      reply.kind === 'error' ? received(reply.error) : lost('the inference process answered another question');
    for (const item of batch) item.reject(error);
  }

  /** The process died under this batch: once more, those that have not been in too many deaths. */
  private again(batch: readonly Waiting[], error: Error): void {
    const futile = this.futile >= FUTILE_STARTS;
    const { restarts } = this.options.config.inference;
    const retry: Waiting[] = [];
    for (const item of batch) {
      item.crashes++;
      if (error instanceof ProcessEnded && !this.closed && !futile && item.crashes <= restarts) retry.push(item);
      else item.reject(lost(error.message));
    }
    this.queue.unshift(retry);
    // Nobody is helped by waiting for a process that does not start; the next caller tries again.
    if (futile) this.drop(() => true, lost(error.message));
  }

  private open(): InferenceProcess {
    if (this.process) return this.process;
    const child = this.options.child ?? siblingModule(import.meta.url, './inference-child.js');
    const opened = new InferenceProcess(
      {
        ...child,
        backend: this.options.config.backend,
        stack: this.options.config.stack,
        onLine: (line) => this.options.onLine?.(line),
      },
      (reason) => {
        if (this.process !== opened) return;
        this.process = undefined;
        if (this.closed) return;
        this.startAt = performance.now() + pauseMs(this.futile++);
        this.lastEnd = reason;
        this.options.onRestart?.(reason);
      },
    );
    this.process = opened;
    return opened;
  }

  private async pause(): Promise<void> {
    const wait = this.process ? 0 : this.startAt - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  }

  private ping(): void {
    if (this.computing.length > 0 || !this.process) return;
    this.process.ask({ kind: 'ping' }, PING_TIMEOUT_MS).catch(() => {});
  }

  private refuseLate(): void {
    if (this.queue.size === 0) return;
    const now = Date.now();
    const late = this.queue.remove((item) => item.deadline <= now);
    for (const item of late) {
      item.reject(
        new AdderError({
          code: 'DEADLINE_EXCEEDED',
          message: 'the forecast had not begun by its deadline',
          fix: 'allow more time, or send less at once',
        }),
      );
    }
  }

  private drop(gone: (item: Waiting) => boolean, reason: unknown): void {
    for (const item of this.queue.remove(gone)) item.reject(reason);
  }

  private retryAfter(): number {
    const first = this.queue.next();
    const rate = first ? this.rates.get(rateKey(first)) : undefined;
    const seconds = rate ? this.queue.size / 2 / rate : 1;
    return Math.min(60, Math.max(1, Math.ceil(seconds)));
  }

  /** Why the process last ended without being asked to; empty when it never did. */
  get lastFailure(): string {
    return this.lastEnd;
  }
}

const rateKey = ({ model, kind }: Pick<Waiting, 'model' | 'kind'>) => `${kind} ${model}`;

/** Work in a request: 1 for each thousand values that a scan reads. */
function weightOf(kind: WorkKind, request: Works[WorkKind]['request']): number {
  // One scan is what origins whole steps apart share; callers put no others into one request.
  return kind === 'forecast' ? 1 : Math.max(1, request.history.length / 1024);
}

const received = ({ code, message, where, fix }: SentError) =>
  new AdderError({ code, message, ...(where ? { where } : {}), ...(fix ? { fix } : {}) });

const lost = (message: string) =>
  new AdderError({ code: 'INFERENCE_LOST', message, fix: 'try again; the log of the worker says more' });
