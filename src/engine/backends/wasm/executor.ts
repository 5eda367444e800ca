/**
 * Runs commands, or keeps them while a plan is recorded, and owns the blocks behind the tensors.
 *
 * A plan is a list of finished commands in the shared memory: running it is one call into WebAssembly, which walks the
 * list, and allocates nothing.
 */
import { EngineError } from '../../errors.js';
import { Op } from '../../kernels/assembly/opcodes.js';
import { columnsOf, type DType, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { Block, blockOf, type Pack } from './block.js';
import { COMMAND_BYTES, COMMAND_WORDS, CommandWriter } from './commands.js';
import { fillPack } from './packs.js';
import { classOf, type Pool } from './pool.js';
import type { Threads } from './threads.js';

export interface Recording {
  commands: Uint32Array[];
  /** Blocks taken for tensors of the plan, and those given back while recording, for later tensors of the same plan. */
  owned: Block[];
  spare: { at: number; size: number }[];
  writes: Set<Block>;
  packs: Set<Pack>;
  /** Blocks from outside that were freed while recording: the plan may use them, so they live as long as it does. */
  deferred: Block[];
  bytes: number;
}

type Run = (list: number, count: number, threads: number) => void;

export class Executor {
  readonly writer: CommandWriter;
  recording: Recording | undefined;
  poison = false;
  bytes = 0;
  peak = 0;
  private readonly runList: Run;
  private readonly window: number;
  private scratchBytes = 0;
  private scratchAt = 0;

  constructor(
    readonly pool: Pool,
    readonly threads: Threads,
    module: WebAssembly.Module,
  ) {
    const instance = new WebAssembly.Instance(module, { env: { memory: pool.memory } });
    this.runList = instance.exports.run as Run;
    this.writer = new CommandWriter(threads.count);
    this.window = pool.take(classOf(COMMAND_BYTES));
    this.needScratch(1 << 16);
  }

  /** Address of element 0 of a tensor that is read. */
  input(t: Tensor, name: string): number {
    return blockOf(t, this.pool, name).at + t.offset * 4;
  }

  /** The same for an optional one; 0 means absent. */
  optional(t: Tensor | undefined, name: string): number {
    return t ? this.input(t, name) : 0;
  }

  /** Address of element 0 of a tensor that is written: packed copies of it are out of date from here on. */
  output(t: Tensor, name: string): number {
    const block = blockOf(t, this.pool, name);
    if (this.recording) {
      if (!this.recording.writes.has(block)) {
        this.recording.writes.add(block);
        block.planWriters++;
      }
    } else {
      markStale(block);
    }
    return block.at + t.offset * 4;
  }

  /** Run the writer's command, or record it. Each thread gets `scratch` bytes. */
  emit(scratch = 0): void {
    this.needScratch(scratch);
    const { words } = this.writer;
    if (words[1] === 0) return;
    if (this.recording) {
      this.recording.commands.push(words.slice());
      return;
    }
    this.runNow(words);
  }

  runNow(words: Uint32Array): void {
    this.pool.u32.set(words, this.window / 4);
    if (words[3]) this.threads.start();
    this.run(this.window, 1);
  }

  run(list: number, count: number): void {
    try {
      this.runList(list, count, this.threads.count);
    } catch (cause) {
      this.threads.abandon();
      throw trapped(cause);
    }
    if (this.threads.failed()) throw trapped(undefined);
  }

  private needScratch(bytes: number): void {
    if (bytes <= this.scratchBytes) return;
    const stride = Math.ceil(bytes / 4096) * 4096;
    const size = classOf(stride * this.threads.count);
    const at = this.pool.take(size);
    if (this.scratchBytes > 0) this.pool.give(this.scratchAt, classOf(this.scratchBytes * this.threads.count));
    this.scratchBytes = stride;
    this.scratchAt = at;
    this.threads.setScratch(at, stride);
  }

  takeBytes(size: number): number {
    const at = this.pool.take(size);
    this.bytes += size;
    this.peak = Math.max(this.peak, this.bytes);
    return at;
  }

  giveBytes(at: number, size: number): void {
    this.pool.give(at, size);
    this.bytes -= size;
  }

  alloc(shape: readonly number[], dtype: DType): Tensor {
    if (dtype === 'f16') {
      throw new EngineError({
        code: 'NOT_SUPPORTED',
        message: 'the wasm backend has no f16 tensors',
        where: { field: 'dtype' },
        fix: 'use f32',
      });
    }
    const size = classOf(sizeOf(shape) * 4);
    const t: Tensor = {
      shape: [...shape],
      dtype,
      offset: 0,
      stride: columnsOf({ shape } as Tensor) ?? 1,
      storage: this.block(size),
    };
    if (this.poison) this.fillBits(t, 0x7fc00000);
    return t;
  }

  private block(size: number): Block {
    const { recording } = this;
    if (!recording) return new Block(this.pool, this.takeBytes(size), size);
    const found = recording.spare.findIndex((spare) => spare.size === size);
    let at: number;
    if (found >= 0) {
      at = recording.spare.splice(found, 1)[0].at;
    } else {
      at = this.takeBytes(size);
      recording.bytes += size;
    }
    const block = new Block(this.pool, at, size);
    recording.owned.push(block);
    return block;
  }

  free(t: Tensor): void {
    const block = blockOf(t, this.pool, 'free');
    const { recording } = this;
    if (recording && !recording.owned.includes(block)) {
      recording.deferred.push(block);
      return;
    }
    block.freed = true;
    this.dropPacks(block);
    if (recording) recording.spare.push({ at: block.at, size: block.size });
    else this.giveBytes(block.at, block.size);
  }

  dropPacks(block: Block): void {
    for (const pack of block.packs ?? []) this.giveBytes(pack.at, pack.size);
    block.packs = undefined;
  }

  /** Every 32-bit word of a contiguous tensor. */
  fillBits(t: Tensor, bits: number): void {
    const at = this.output(t, 'out');
    const columns = columnsOf(t);
    const { writer } = this;
    writer.begin(Op.Fill, rowsOf(t), columns / 4);
    writer
      .pointer(at)
      .pointer(t.stride * 4)
      .int(columns)
      .int(bits);
    this.emit();
  }

  record<T>(build: () => T): { result: T; recording: Recording; list: number; count: number } {
    if (this.recording) {
      throw new EngineError({ code: 'RECORDING', message: 'a plan is already being recorded', fix: 'end it first' });
    }
    const recording: Recording = {
      commands: [],
      owned: [],
      spare: [],
      writes: new Set(),
      packs: new Set(),
      deferred: [],
      bytes: 0,
    };
    this.recording = recording;
    try {
      const result = build();
      const count = recording.commands.length;
      const list = this.takeBytes(classOf(Math.max(1, count) * COMMAND_BYTES));
      for (let i = 0; i < count; i++) this.pool.u32.set(recording.commands[i], list / 4 + i * COMMAND_WORDS);
      return { result, recording, list, count };
    } catch (error) {
      this.recording = undefined;
      this.release(recording);
      throw error;
    } finally {
      this.recording = undefined;
    }
  }

  /** Give back what a recording holds. */
  release(recording: Recording): void {
    for (const block of recording.writes) block.planWriters--;
    for (const block of recording.owned) {
      this.dropPacks(block);
      // A block freed while recording has its bytes in `spare`, or under a later block of the plan.
      if (!block.freed) this.giveBytes(block.at, block.size);
      block.freed = true;
    }
    for (const { at, size } of recording.spare) this.giveBytes(at, size);
    for (const block of recording.deferred) {
      if (block.freed) continue;
      block.freed = true;
      this.dropPacks(block);
      this.giveBytes(block.at, block.size);
    }
  }

  /** Before a plan runs: packed weights that were written since. */
  refresh(packs: Iterable<Pack>): void {
    for (const pack of packs) if (pack.stale) fillPack(this, pack);
  }
}

export function markStale(block: Block): void {
  if (block.packs) for (const pack of block.packs) pack.stale = true;
}

function trapped(cause: unknown): EngineError {
  return new EngineError({
    code: 'KERNEL_TRAP',
    message: 'a WebAssembly kernel failed',
    fix: 'this is a defect of the engine; report it with the shapes in use',
    cause,
  });
}
