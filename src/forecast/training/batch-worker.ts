/** A thread that fills shards of batches: see batch-pool.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { BatchFiller, shardsOf } from './batch.js';
import { type BatchReady, type BatchWorkerData, DONE, NEXT_TASK, RELEASED, STOP } from './batch-pool.js';

const { corpus, options, slots, control, firstStep } = workerData as BatchWorkerData;
const filler = new BatchFiller(corpus, options);
const tasks = options.parts.flatMap((part, p) =>
  Array.from({ length: shardsOf(part).shards }, (_, shard) => ({ p, shard })),
);

for (;;) {
  const number = Atomics.add(control, NEXT_TASK, 1);
  const ahead = Math.floor(number / tasks.length);
  const { p, shard } = tasks[number % tasks.length]!;
  for (;;) {
    if (Atomics.load(control, STOP) !== 0) break;
    const released = Atomics.load(control, RELEASED);
    if (ahead < released + slots.length) break;
    Atomics.wait(control, RELEASED, released);
  }
  if (Atomics.load(control, STOP) !== 0) break;
  const slot = ahead % slots.length;
  filler.fill(slots[slot]![p]!, firstStep + ahead, p, shard);
  if (Atomics.add(control, DONE + slot, 1) + 1 === tasks.length) {
    parentPort!.postMessage({ ready: firstStep + ahead } satisfies BatchReady);
  }
}
