/**
 * The WebGPU backend: `await createWebgpuBackend()` gives one, or undefined where no suitable adapter exists.
 * Backends of one process share one device for as long as any of them lives.
 */
import { WebgpuBackend, type WebgpuBackendOptions } from './backend.js';
import { type AdapterChoice, type GpuDevice, openDevice } from './device.js';

export { WebgpuBackend } from './backend.js';
export type { Dispatch } from './command.js';
export type { ProfileRow } from './plan.js';
export type { Recorder } from './recorder.js';

export interface CreateOptions extends WebgpuBackendOptions {
  /**
   * `hardware`: only a real GPU (default). `software`: only an adapter that runs on the CPU (lavapipe, SwiftShader), for
   * tests. `any`: whichever comes. The environment variable ADDER_WEBGPU is used when the option is absent; there,
   * `off` turns the backend off.
   */
  adapter?: AdapterChoice;
}

interface Shared {
  gpu: Promise<GpuDevice | undefined>;
  users: number;
}

const shared = new Map<AdapterChoice, Shared>();

/**
 * @throws EngineError `WEBGPU_UNAVAILABLE` if Dawn cannot be loaded, `DEVICE_REFUSED` if an adapter gives no device.
 */
export async function createWebgpuBackend(options: CreateOptions = {}): Promise<WebgpuBackend | undefined> {
  const wish = options.adapter ?? process.env.ADDER_WEBGPU ?? 'hardware';
  if (wish === 'off') return undefined;
  const choice: AdapterChoice = wish === 'software' || wish === 'any' ? wish : 'hardware';

  let entry = shared.get(choice);
  if (entry) {
    const current = await entry.gpu.catch(() => undefined);
    if (!current || current.lost) entry = undefined;
  }
  if (!entry) {
    entry = { gpu: openDevice(choice), users: 0 };
    shared.set(choice, entry);
  }
  const mine = entry;
  mine.users++;
  const gpu = await mine.gpu;
  if (!gpu) return undefined;
  return new WebgpuBackend(
    gpu,
    () => {
      mine.users--;
      if (mine.users > 0) return;
      if (shared.get(choice) === mine) shared.delete(choice);
      gpu.device.destroy();
    },
    options,
  );
}
