/**
 * The backends of this machine. A missing WebGPU adapter skips that backend's tests loudly, or fails in CI, where
 * lavapipe is always installed.
 */
import { afterAll, describe, it } from '@jest/globals';
import type { Backend, BackendName } from '../../src/engine/backend.js';
import { createReferenceBackend } from '../../src/engine/backends/reference/index.js';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { createWebgpuBackend } from '../../src/engine/backends/webgpu/index.js';

const makers: Record<BackendName, () => Promise<Backend | undefined>> = {
  reference: async () => createReferenceBackend(),
  wasm: () => createWasmBackend(),
  webgpu: () => createWebgpuBackend({ adapter: 'any' }),
};

/** ADDER_TEST_BACKENDS=wasm,webgpu narrows a run by hand. */
const wanted = (process.env.ADDER_TEST_BACKENDS ?? 'reference,wasm,webgpu').split(',') as BackendName[];

const opened = new Map<BackendName, Backend | Error>();
for (const name of wanted) {
  try {
    const backend = await makers[name]();
    opened.set(name, backend ?? new Error(`no ${name} backend on this machine`));
  } catch (error) {
    opened.set(name, error as Error);
  }
}

/**
 * Defines the same tests for every backend (`among`, or all). Those of a backend that is not there are skipped with
 * a warning, except in CI.
 */
export function onEveryBackend(
  title: string,
  body: (backend: Backend) => void,
  among: readonly BackendName[] = wanted,
): void {
  for (const [name, backend] of opened) {
    if (!among.includes(name)) continue;
    describe(`${title} on ${name}`, () => {
      if (!(backend instanceof Error)) body(backend);
      else if (process.env.CI === 'true' || name !== 'webgpu') {
        it('is there', () => {
          throw backend;
        });
      } else {
        console.warn(`SKIPPED: ${title} on ${name}: ${backend.message}`);
        it.skip('is not there', () => {});
      }
    });
  }
}

afterAll(async () => {
  for (const backend of opened.values()) if (!(backend instanceof Error)) await backend.dispose();
});
