/**
 * The one memory of a backend: a shared WebAssembly.Memory and an allocator of size classes over it.
 *
 * Classes are four to an octave, multiples of 64 bytes. A freed block serves its own class again, or, when the memory
 * is full, a smaller request; blocks are never merged, because the shapes of a service repeat.
 */
import { EngineError } from '../../errors.js';

const PAGE = 65536;
const MAX_PAGES = 65536;
const ALIGNMENT = 64;
/** Control words and whatever the compiler may place statically end here. */
export const FIRST_BLOCK = 4096;

/** Bytes a request occupies: the next size class. */
export function classOf(bytes: number): number {
  if (bytes <= 4 * ALIGNMENT) return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
  const octave = 2 ** Math.floor(Math.log2(bytes));
  const step = Math.max(ALIGNMENT, octave / 4);
  return Math.ceil(bytes / step) * step;
}

export class Pool {
  readonly memory: WebAssembly.Memory;
  f32!: Float32Array;
  i32!: Int32Array;
  u32!: Uint32Array;
  private top = FIRST_BLOCK;
  private readonly spare = new Map<number, number[]>();
  private readonly limit: number;

  /** maxPages lets tests meet the limit without 4 GiB. */
  constructor(maxPages = MAX_PAGES) {
    this.limit = maxPages * PAGE;
    this.memory = new WebAssembly.Memory({ initial: 16, maximum: MAX_PAGES, shared: true });
    this.view();
  }

  /** A growing shared memory leaves old views at their old length, so they are taken anew. */
  private view(): void {
    this.f32 = new Float32Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    this.u32 = new Uint32Array(this.memory.buffer);
  }

  /** Address of a block of exactly `size` bytes, a value of `classOf`. */
  take(size: number): number {
    const found = this.spare.get(size)?.pop();
    if (found !== undefined) return found;
    if (this.top + size <= this.limit && this.growTo(this.top + size)) {
      const at = this.top;
      this.top += size;
      return at;
    }
    const larger = this.takeLarger(size);
    if (larger !== undefined) return larger;
    throw new EngineError({
      code: 'OUT_OF_MEMORY',
      message: `no room for ${mib(size)} MiB: ${mib(this.top)} of ${mib(this.limit)} MiB of the WebAssembly memory are taken`,
      where: { field: 'alloc' },
      fix: 'use smaller batches, free unused tensors and plans, or run several worker processes',
    });
  }

  give(at: number, size: number): void {
    const list = this.spare.get(size);
    if (list) list.push(at);
    else this.spare.set(size, [at]);
  }

  /** The full memory's last resort: cut the block from a larger spare one and keep the rest as spare. */
  private takeLarger(size: number): number | undefined {
    let best: number | undefined;
    for (const [candidate, list] of this.spare) {
      if (candidate > size && list.length > 0 && (best === undefined || candidate < best)) best = candidate;
    }
    if (best === undefined) return undefined;
    const at = this.spare.get(best)?.pop() as number;
    this.give(at + size, best - size);
    return at;
  }

  private growTo(bytes: number): boolean {
    const has = this.memory.buffer.byteLength;
    if (bytes <= has) return true;
    const least = Math.ceil((bytes - has) / PAGE);
    // A quarter more than now, so that filling the memory takes few steps.
    const wanted = Math.min(Math.max(least, Math.ceil(has / PAGE / 4)), (this.limit - has) / PAGE);
    for (const pages of [wanted, least]) {
      try {
        this.memory.grow(pages);
        this.view();
        return true;
      } catch {
        // The system had no more; a smaller step may still fit.
      }
    }
    return false;
  }
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0);
}
