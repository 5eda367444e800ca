/**
 * Commands as the WebAssembly side reads them (kernels/assembly/opcodes.ts): written one at a time into a small window,
 * then either run at once or kept in a recording.
 */
import type { Op } from '../../kernels/assembly/opcodes.js';

export const COMMAND_WORDS = 64;
export const COMMAND_BYTES = COMMAND_WORDS * 4;
const HEADER_WORDS = 4;

/** Below this much work in a command (about a vector instruction each), offering it to workers costs more than it saves. */
const LEAST_PARALLEL_WORK = 100_000;
/** Work a thread takes at a time: large against one atomic addition, small against a command. */
const GRAIN_WORK = 30_000;

export class CommandWriter {
  readonly words = new Uint32Array(COMMAND_WORDS);
  private readonly signed = new Int32Array(this.words.buffer);
  private readonly floats = new Float32Array(this.words.buffer);
  private next = 0;

  constructor(readonly threads: number) {}

  get parallel(): boolean {
    return this.words[3] !== 0;
  }

  /** `work`: about how many vector instructions a unit takes. */
  begin(op: Op, units: number, work: number): this {
    this.words.fill(0);
    this.words[0] = op;
    this.words[1] = units;
    const fair = Math.ceil(units / (this.threads * 4));
    this.words[2] = Math.max(1, Math.min(fair, Math.ceil(GRAIN_WORK / Math.max(work, 1))));
    this.words[3] = this.threads > 1 && units > 1 && units * work >= LEAST_PARALLEL_WORK ? 1 : 0;
    this.next = HEADER_WORDS;
    return this;
  }

  /** An address or a stride in bytes: unsigned, up to 4 GiB. */
  pointer(value: number): this {
    this.words[this.next++] = value;
    return this;
  }

  int(value: number): this {
    this.signed[this.next++] = value;
    return this;
  }

  float(value: number): this {
    this.floats[this.next++] = value;
    return this;
  }
}
