/**
 * The backends of this machine. A missing WebGPU adapter skips that backend's tests loudly, or fails in CI, where
 * lavapipe is always installed.
 */
import { setFlagsFromString } from 'node:v8';
import { afterAll, describe, it } from '@jest/globals';
import type { Backend, BackendName } from '../../src/engine/backend.js';
import { createReferenceBackend } from '../../src/engine/backends/reference/index.js';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { createWebgpuBackend } from '../../src/engine/backends/webgpu/index.js';

// Node 20 has relaxed SIMD behind a flag; with it on, both builds are tested there too.
if (Number(process.versions.node.split('.')[0]) < 22) setFlagsFromString('--experimental-wasm-relaxed-simd');

interface Entry {
  title: string;
  name: BackendName;
  open(): Promise<Backend | undefined>;
}

/** Both builds of the wasm backend: a runtime without relaxed SIMD uses the plain one. */
const entries: readonly Entry[] = [
  { title: 'reference', name: 'reference', open: async () => createReferenceBackend() },
  { title: 'wasm', name: 'wasm', open: () => createWasmBackend({ build: 'simd' }) },
  { title: 'wasm, relaxed SIMD', name: 'wasm', open: () => createWasmBackend({ build: 'relaxed' }) },
  { title: 'webgpu', name: 'webgpu', open: () => createWebgpuBackend({ adapter: 'any' }) },
];

/** ADDER_TEST_BACKENDS=wasm,webgpu narrows a run by hand. */
const wanted = (process.env.ADDER_TEST_BACKENDS ?? 'reference,wasm,webgpu').split(',');

const opened: { title: string; name: BackendName; backend: Backend | Error }[] = [];
for (const { title, name, open } of entries.filter((entry) => wanted.includes(entry.name))) {
  const backend = await open().catch((error: Error) => error);
  opened.push({ title, name, backend: backend ?? new Error('no suitable adapter on this machine') });
}

/**
 * Defines the same tests for every backend (`among`, or all). Those of a backend that is not there are skipped with
 * a warning, except in CI.
 */
export function onEveryBackend(
  title: string,
  body: (backend: Backend) => void,
  among: readonly BackendName[] = ['reference', 'wasm', 'webgpu'],
): void {
  for (const { title: on, name, backend } of opened) {
    if (!among.includes(name)) continue;
    describe(`${title} on ${on}`, () => {
      if (!(backend instanceof Error)) body(backend);
      else if (process.env.CI === 'true' || name !== 'webgpu') {
        it('is there', () => {
          throw backend;
        });
      } else {
        console.warn(`SKIPPED: ${title} on ${on}: ${backend.message}`);
        it.skip('is not there', () => {});
      }
    });
  }
}

afterAll(async () => {
  for (const { backend } of opened) if (!(backend instanceof Error)) await backend.dispose();
});
