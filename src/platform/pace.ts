import { setImmediate as turn } from 'node:timers/promises';

/** Longest piece of work between two turns of the event loop. */
const SLICE_MS = 15;

/** Maps without holding the event loop: other requests get a turn every few milliseconds. */
export async function paced<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => R,
  signal?: AbortSignal,
): Promise<R[]> {
  const out: R[] = [];
  let since = performance.now();
  for (const [i, item] of items.entries()) {
    out.push(work(item, i));
    if (performance.now() - since < SLICE_MS) continue;
    await turn();
    signal?.throwIfAborted();
    since = performance.now();
  }
  return out;
}
