/** The inference process: loads forecasters on demand and answers what arrives over IPC, in order. Dawn lives here alone. */
import { toAdderError } from '../../platform/errors.js';
import type { Forecaster } from '../forecaster.js';
import { resolveForecaster } from '../models.js';
import type { EngineAsk, EngineReply } from './engine-messages.js';
import { checkForecaster } from './self-test.js';

const backend = process.argv[2] === 'auto' ? undefined : process.argv[2];
const loaded = new Map<string, Promise<Forecaster>>();

function load(model: string): Promise<Forecaster> {
  const known = loaded.get(model);
  if (known) return known;
  // The default falls back to a statistical method where no weights are installed.
  const forecaster = resolveForecaster(model === 'adder' ? undefined : model, backend ? { backend } : {});
  loaded.set(model, forecaster);
  forecaster.catch(() => loaded.delete(model));
  return forecaster;
}

export const backendOf = (forecaster: Forecaster): string =>
  (forecaster as { model?: { backend?: { name?: string } } }).model?.backend?.name ?? 'javascript';

async function answer(ask: EngineAsk): Promise<EngineReply> {
  const { id } = ask;
  try {
    const forecaster = await load(ask.model);
    if (ask.kind === 'forecast') return { id, results: await forecaster.forecast(ask.requests) };
    if (ask.kind === 'describe') return { id, info: { model: forecaster.id, backend: backendOf(forecaster) } };
    const oracle =
      backendOf(forecaster) === 'webgpu'
        ? () => resolveForecaster(ask.model === 'adder' ? undefined : ask.model, { backend: 'wasm' })
        : undefined;
    await checkForecaster(forecaster, oracle);
    return { id, passed: true };
  } catch (thrown) {
    const { code, message, fix, where } = toAdderError(thrown);
    return { id, error: { code, message, fix, where } };
  }
}

let turn: Promise<void> = Promise.resolve();
process.on('message', (ask: EngineAsk) => {
  turn = turn.then(async () => {
    const reply = await answer(ask);
    if (process.connected) process.send?.(reply);
  });
});
// Whoever asked is gone, however it went.
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group; the parent decides when we end.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
