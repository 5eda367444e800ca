import { fork } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FineTuneOptions, FineTuneReport } from '../../forecast/training/fine-tune.js';
import { AdderError } from '../../platform/errors.js';
import { siblingModule } from '../../platform/sibling-module.js';
import type { SentError } from '../inference/protocol.js';

/** What the process is asked: the options that can travel. */
export type FineTuneAsk = Omit<FineTuneOptions, 'backend' | 'signal' | 'progress'> & {
  backend?: string;
  directory: string;
  name: string;
};

export type FineTuneReply =
  | { kind: 'progress'; step: number; steps: number; tail: number; base: number; best: number }
  | { kind: 'done'; directory: string | undefined; report: FineTuneReport }
  | { kind: 'error'; error: SentError };

export interface FineTuned {
  /** Files of the new model; undefined where none beat the base. */
  files: Record<string, Uint8Array> | undefined;
  report: FineTuneReport;
}

/**
 * Fine-tunes in a process of its own, which is killed when `signal` aborts. Throws the errors of `fineTune`, `INFERENCE_LOST`
 * when the process dies, and the reason of `signal`. Leaves no files.
 */
export async function fineTuneApart(
  ask: Omit<FineTuneAsk, 'directory'>,
  { signal, progress }: { signal: AbortSignal; progress: (at: Extract<FineTuneReply, { kind: 'progress' }>) => void },
): Promise<FineTuned> {
  signal.throwIfAborted();
  const directory = join(tmpdir(), `adder-tuning-${process.pid}-${ask.name}`);
  await rm(directory, { recursive: true, force: true });
  const { file, execArgv } = siblingModule(import.meta.url, './fine-tune-child.js');
  const child = fork(file, [], { serialization: 'advanced', execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(-2000);
  });
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  try {
    const reply = await new Promise<Exclude<FineTuneReply, { kind: 'progress' }>>((resolve, reject) => {
      child.on('message', (message: FineTuneReply) => {
        if (message.kind === 'progress') progress(message);
        else resolve(message);
      });
      child.once('error', reject);
      child.once('exit', (code, ended) => {
        const last = said.trim().split('\n').at(-1) ?? '';
        reject(
          new AdderError({
            code: 'INFERENCE_LOST',
            message: `the process that fine-tuned ended (${ended ?? code})${last ? `: ${last}` : ''}`,
            fix: 'try again; the log of the worker says more',
          }),
        );
      });
      child.send({ ...ask, directory } satisfies FineTuneAsk, (error) => error && kill());
    });
    if (reply.kind === 'error') throw new AdderError(reply.error);
    return { report: reply.report, files: reply.directory === undefined ? undefined : await filesIn(reply.directory) };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    await rm(directory, { recursive: true, force: true });
    await rm(`${directory}.draft-${child.pid}`, { recursive: true, force: true });
  }
}

/** The files of a model's folder, by name. */
export async function filesIn(directory: string): Promise<Record<string, Uint8Array>> {
  const names = (await readdir(directory)).filter((name) =>
    /^(config\.json|model\.safetensors|stack\.json)$/.test(name),
  );
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))])),
  );
}
