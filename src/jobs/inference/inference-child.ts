/**
 * The inference process: loads forecasters on demand and answers what arrives over IPC, in order. The GPU is touched here
 * and nowhere else. It ends with its parent, however that ends.
 */
import type { Forecaster, ForecastRequest } from '../../forecast/forecaster.js';
import { resolveForecaster } from '../../forecast/models.js';
import { checkForecaster } from '../../forecast/rest/self-test.js';
import { toAdderError } from '../../platform/errors.js';
import type { Ask, ForecastAnswer, ModelInfo, Reply } from './protocol.js';

const backend = process.argv[2] === 'auto' ? undefined : process.argv[2];

/** Forecasters held at a time; the one used longest ago is closed for the next. */
const MAX_LOADED = 4;
const loaded = new Map<string, Promise<Forecaster>>();

function load(model: string): Promise<Forecaster> {
  const known = loaded.get(model);
  if (known) {
    loaded.delete(model);
    loaded.set(model, known);
    return known;
  }
  // Without a name the default falls back to a statistical method where no weights are installed.
  const forecaster = resolveForecaster(model === 'adder' ? undefined : model, backend ? { backend } : {});
  loaded.set(model, forecaster);
  forecaster.catch(() => loaded.delete(model));
  for (const [name, old] of loaded) {
    if (loaded.size <= MAX_LOADED) break;
    loaded.delete(name);
    void old.then((closing) => closing.close?.()).catch(() => {});
  }
  return forecaster;
}

const backendOf = (forecaster: Forecaster): string =>
  (forecaster as { model?: { backend?: { name?: string } } }).model?.backend?.name ?? 'javascript';

const infoOf = (forecaster: Forecaster): ModelInfo => ({ model: forecaster.id, backend: backendOf(forecaster) });

/** All at once; if that fails, each alone, so that only those at fault fail. */
async function forecast(forecaster: Forecaster, requests: ForecastRequest[]): Promise<ForecastAnswer[]> {
  try {
    return (await forecaster.forecast(requests)).map((result) => ({ result }));
  } catch (thrown) {
    if (requests.length === 1) return [{ error: toAdderError(thrown).toJSON() }];
    const answers: ForecastAnswer[] = [];
    for (const request of requests) answers.push(...(await forecast(forecaster, [request])));
    return answers;
  }
}

async function answer(ask: Ask): Promise<Reply> {
  const { id } = ask;
  if (ask.kind === 'ping') return { id, kind: 'ping' };
  try {
    const forecaster = await load(ask.model);
    switch (ask.kind) {
      case 'forecast':
        return { id, kind: 'forecast', answers: await forecast(forecaster, ask.requests), info: infoOf(forecaster) };
      case 'describe':
        return { id, kind: 'describe', info: infoOf(forecaster) };
      case 'self-test': {
        const name = ask.model === 'adder' ? undefined : ask.model;
        const oracle = () => resolveForecaster(name, { backend: 'wasm' });
        await checkForecaster(forecaster, backendOf(forecaster) === 'webgpu' ? oracle : undefined);
        return { id, kind: 'self-test' };
      }
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
  for (const forecaster of loaded.values()) await (await forecaster).close?.();
  process.exit(0);
}
process.on('disconnect', () => void leave().catch(() => process.exit(1)));
// Ctrl-C reaches the whole group; the parent decides when we end.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
