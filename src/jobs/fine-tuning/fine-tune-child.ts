/** A process that fine-tunes one model and ends: the device that it trains on, and its memory, end with it. */
import { fineTune } from '../../forecast/training/fine-tune.js';
import { toAdderError } from '../../platform/errors.js';
import type { FineTuneAsk, FineTuneReply } from './fine-tune-process.js';

// An aborted run is killed; nobody is left to be told.
process.on('disconnect', () => process.exit(1));
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

const send = (reply: FineTuneReply) =>
  new Promise<void>((done) => {
    process.send?.(reply, undefined, {}, () => done());
  });

process.once('message', async (ask: FineTuneAsk) => {
  try {
    const { directory, report } = await fineTune({
      ...ask,
      progress: ({ step, steps, tail, base, best }) => void send({ kind: 'progress', step, steps, tail, base, best }),
    });
    await send({ kind: 'done', directory, report });
  } catch (thrown) {
    await send({ kind: 'error', error: toAdderError(thrown).toJSON() });
  }
  process.exit(0);
});
