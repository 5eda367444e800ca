/**
 * The listening process: holds the speech model and its device, and answers what arrives over IPC, in order. It ends with its
 * parent, however that ends.
 */
import { toAdderError } from '../../platform/errors.js';
import { loadSpeechModel } from '../model/index.js';
import { Hearing } from './hearing.js';
import type { HearingReply, SentAsk } from './protocol.js';

const [backend, model] = process.argv.slice(2);

let opened: Promise<Hearing> | undefined;

/** The model is loaded with the first question; one that cannot be loaded fails every question, with the reason. */
function hearing(): Promise<Hearing> {
  opened ??= loadSpeechModel(model, backend === 'auto' ? undefined : backend).then((loaded) => new Hearing(loaded));
  return opened;
}

async function answer({ id, ...ask }: SentAsk): Promise<HearingReply> {
  try {
    return { id, answer: await (await hearing()).answer(ask) };
  } catch (thrown) {
    return { id, error: toAdderError(thrown).toJSON() };
  }
}

let turn: Promise<void> = Promise.resolve();
process.on('message', (ask: SentAsk) => {
  turn = turn.then(async () => {
    const reply = await answer(ask);
    if (process.connected) process.send?.(reply);
  });
});

/** Devices are destroyed before the process ends: a pending read of a destroyed process' GPU has crashed drivers. */
async function leave(): Promise<void> {
  setTimeout(() => process.exit(1), 4000).unref();
  await (await opened)?.end();
  process.exit(0);
}
process.on('disconnect', () => void leave().catch(() => process.exit(1)));
// Ctrl-C reaches the whole group; the parent decides when we end.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
