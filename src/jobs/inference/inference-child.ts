/**
 * The inference process: loads forecasters on demand and answers what arrives over IPC, in order. The GPU is touched here
 * and nowhere else. It ends with its parent, however that ends.
 */
import type { Forecaster } from '../../forecast/forecaster.js';
import { resolveForecaster } from '../../forecast/models.js';
import { checkForecaster } from '../../forecast/rest/self-test.js';
import { parseStack } from '../../forecast/stack/stack.js';
import { toAdderError } from '../../platform/errors.js';
import { type LoadedModel, openModel } from './loaded-model.js';
import type { Ask, Reply, WorkAnswer, WorkKind, Works } from './protocol.js';

const backend = process.argv[2] === 'auto' ? undefined : process.argv[2];
const stack = parseStack(process.argv[3]);

/** Forecasters held at a time; the one used longest ago is closed for the next. */
const MAX_LOADED = 4;
const loaded = new Map<string, Promise<LoadedModel>>();

function load(model: string): Promise<LoadedModel> {
  const known = loaded.get(model);
  if (known) {
    loaded.delete(model);
    loaded.set(model, known);
    return known;
  }
  const opened = openModel(model, { backend, stack });
  loaded.set(model, opened);
  opened.catch(() => loaded.delete(model));
  for (const [name, old] of loaded) {
    if (loaded.size <= MAX_LOADED) break;
    loaded.delete(name);
    void old.then((closing) => closing.close()).catch(() => {});
  }
  return opened;
}

/** All at once; if that fails, each alone, so that only those at fault fail. */
async function work(model: LoadedModel, kind: WorkKind, requests: Works[WorkKind]['request'][]): Promise<WorkAnswer[]> {
  try {
    return (await model.work(kind, requests)).map((result) => ({ result }));
  } catch (thrown) {
    if (requests.length === 1) return [{ error: toAdderError(thrown).toJSON() }];
    const answers: WorkAnswer[] = [];
    for (const request of requests) answers.push(...(await work(model, kind, [request])));
    return answers;
  }
}

async function answer(ask: Ask): Promise<Reply> {
  const { id } = ask;
  if (ask.kind === 'ping') return { id, kind: 'ping' };
  try {
    const model = await load(ask.model);
    switch (ask.kind) {
      case 'describe':
        return { id, kind: 'describe', info: model.info };
      case 'self-test': {
        const name = ask.model === 'adder' ? undefined : ask.model;
        const oracle = (): Promise<Forecaster> => resolveForecaster(name, { backend: 'wasm' });
        await checkForecaster(model.forecaster, model.info.backend === 'webgpu' ? oracle : undefined);
        return { id, kind: 'self-test' };
      }
      default:
        return { id, kind: ask.kind, answers: await work(model, ask.kind, ask.requests), info: model.info };
    }
  } catch (thrown) {
    return { id, kind: 'error', error: toAdderError(thrown).toJSON() };
  }
}

let turn: Promise<void> = Promise.resolve();
process.on('message', (ask: Ask) => {
  turn = turn.then(async () => {
    const reply = await answer(ask);
    if (process.connected) process.send?.(reply);
  });
});

/** Devices are destroyed before the process ends: a pending read of a destroyed process' GPU has crashed drivers. */
async function leave(): Promise<void> {
  setTimeout(() => process.exit(1), 4000).unref();
  for (const model of loaded.values()) await (await model).close();
  process.exit(0);
}
process.on('disconnect', () => void leave().catch(() => process.exit(1)));
// Ctrl-C reaches the whole group; the parent decides when we end.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
