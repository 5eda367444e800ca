/** Which device runs a model: the one asked for by name, else a real GPU, else WebAssembly. */
import type { Backend, BackendName } from '../../engine/backend.js';
import { AdderError, quote } from '../errors.js';

const NAMES: readonly BackendName[] = ['webgpu', 'wasm', 'reference'];

/**
 * A backend that the caller disposes of. A software adapter is used only where webgpu is asked for by name.
 *
 * @throws AdderError `BAD_OPTION` for an unknown name, `NO_WEBGPU` where webgpu is asked for and has no adapter
 */
export async function openBackend(name?: string): Promise<Backend> {
  if (name !== undefined && !NAMES.includes(name as BackendName)) {
    throw new AdderError({
      code: 'BAD_OPTION',
      message: `no backend ${quote(name)}`,
      where: { field: '--backend' },
      fix: `use ${NAMES.join(', ')}`,
    });
  }
  if (name === 'reference') {
    const { createReferenceBackend } = await import('../../engine/backends/reference/index.js');
    return createReferenceBackend();
  }
  if (name !== 'wasm') {
    const { createWebgpuBackend } = await import('../../engine/backends/webgpu/index.js');
    const backend = await createWebgpuBackend(name && !process.env.ADDER_WEBGPU ? { adapter: 'any' } : {});
    if (backend) return backend;
    if (name === 'webgpu') {
      throw new AdderError({
        code: 'NO_WEBGPU',
        message: 'no WebGPU adapter was found',
        fix: 'install a Vulkan driver (scripts/install-lavapipe.sh installs a software one), or use --backend wasm',
      });
    }
  }
  const { createWasmBackend } = await import('../../engine/backends/wasm/index.js');
  return createWasmBackend();
}

/** A backend as `openBackend` gives it, that trains. @throws AdderError `NO_TRAINING` where there is none */
export async function openTrainingBackend(name?: string): Promise<Backend> {
  const backend = await openBackend(name);
  if (backend.trains) return backend;
  await backend.dispose();
  throw new AdderError({
    code: 'NO_TRAINING',
    message: `there is no GPU here, and ${backend.name} does not train`,
    fix: 'run on a machine with a GPU, or use --backend webgpu for a software adapter (slow)',
  });
}
