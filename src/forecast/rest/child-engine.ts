import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { siblingModule } from '../../http/sibling-module.js';
import type { Config } from '../../platform/config.js';
import { AdderError } from '../../platform/errors.js';
import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import type { EngineAsk, EngineReply } from './engine-messages.js';
import type { EngineInfo, EngineOptions, ForecastEngine } from './forecast-engine.js';

/** Series in one message: small enough that a short request does not wait long behind a long one. */
const CHUNK = 128;

interface Waiting {
  resolve(reply: EngineReply): void;
  reject(error: Error): void;
}

type AskWithoutId = EngineAsk extends infer A ? (A extends EngineAsk ? Omit<A, 'id'> : never) : never;

/**
 * Forecasts in a child process of this process: one message at a time, a watchdog for each, and a new child after any end
 * of the old one. What was being computed then is asked again, because forecasts have no side effects.
 */
export class ChildEngine implements ForecastEngine {
  private child: ChildProcess | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private queued = 0;
  private turn: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(
    private readonly config: Pick<Config, 'model' | 'backend' | 'inference'>,
    private readonly log: Logger,
  ) {}

  async forecast(requests: ForecastRequest[], { model, signal }: EngineOptions = {}): Promise<ForecastResult[]> {
    const { queueSize } = this.config.inference;
    // A single request may be larger than the queue when nothing else waits.
    if (this.queued > 0 && this.queued + requests.length > queueSize) {
      throw new AdderError({
        code: 'QUEUE_FULL',
        message: `${this.queued} series wait for a forecast already`,
        fix: 'try again shortly, or raise ADDER_BATCH_QUEUE',
      });
    }
    this.queued += requests.length;
    const results: ForecastResult[] = [];
    try {
      for (let from = 0; from < requests.length; from += CHUNK) {
        signal?.throwIfAborted();
        const chunk = requests.slice(from, from + CHUNK);
        const reply = await this.ask({ kind: 'forecast', model: model ?? this.config.model, requests: chunk }, signal);
        if (!('results' in reply)) throw new Error('the inference process answered another question');
        results.push(...reply.results);
        this.queued -= chunk.length;
      }
      return results;
    } finally {
      this.queued -= requests.length - results.length;
    }
  }

  async describe(model?: string): Promise<EngineInfo> {
    const reply = await this.ask({ kind: 'describe', model: model ?? this.config.model });
    if (!('info' in reply)) throw new Error('the inference process answered another question');
    return reply.info;
  }

  async selfTest(): Promise<void> {
    await this.ask({ kind: 'self-test', model: this.config.model });
  }

  async close(): Promise<void> {
    this.closed = true;
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    if (child.connected) child.disconnect();
    await ended;
    clearTimeout(timer);
  }

  /** One question; asked again, so often as is configured, when the child dies of it. */
  private async ask(ask: AskWithoutId, signal?: AbortSignal): Promise<EngineReply> {
    const mine = this.turn.then(async () => {
      signal?.throwIfAborted();
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.once(ask);
        } catch (error) {
          if (!(error instanceof ChildEnded) || this.closed || attempt >= this.config.inference.restarts) throw error;
          this.log.warn({ attempt: attempt + 1 }, `${error.message}; starting it again`);
        }
      }
    });
    this.turn = mine.catch(() => undefined);
    const reply = await mine;
    if ('error' in reply) {
      const { code, message, fix, where } = reply.error;
      throw new AdderError({ code, message, fix, where: where as never });
    }
    return reply;
  }

  private once(ask: AskWithoutId): Promise<EngineReply> {
    if (this.closed) return Promise.reject(new ChildEnded('the service is stopping'));
    const child = this.start();
    const id = this.next++;
    return new Promise<EngineReply>((resolve, reject) => {
      const timer = setTimeout(() => {
        // Its end rejects what it was asked.
        child.kill('SIGKILL');
      }, this.config.inference.timeoutMs);
      const settle = <T>(action: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          this.waiting.delete(id);
          action(value);
        };
      };
      this.waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
      child.send({ ...ask, id } as EngineAsk, (error) => {
        if (error) this.waiting.get(id)?.reject(new ChildEnded(`the inference process is gone: ${error.message}`));
      });
    });
  }

  private start(): ChildProcess {
    if (this.child?.connected && this.child.exitCode === null) return this.child;
    const { file, execArgv } = siblingModule(import.meta.url, './engine-child.js');
    const child = fork(file, [this.config.backend], {
      serialization: 'advanced',
      execArgv,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.child = child;
    child.on('message', (reply: EngineReply) => this.waiting.get(reply.id)?.resolve(reply));
    child.on('error', () => {});
    child.on('exit', (code, signal) => {
      if (this.child === child) this.child = undefined;
      for (const { reject } of [...this.waiting.values()]) {
        reject(new ChildEnded(`the inference process ended (${signal ?? code}) while it computed`));
      }
    });
    return child;
  }
}

/** The child died or was killed by the watchdog. */
class ChildEnded extends AdderError {
  constructor(message: string) {
    super({ code: 'INFERENCE_FAILED', message, fix: 'try again; the log says more' });
  }
}
