/** Finding and compiling the WebAssembly build that this engine can run. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../../errors.js';

export type Build = 'simd' | 'relaxed';

export interface CompiledModule {
  build: Build;
  module: WebAssembly.Module;
}

/** Next to the sources under Jest, next to the compiled files in dist: the build copies it there. */
const folder = new URL('../../kernels/wasm/', import.meta.url);

const compiled = new Map<Build, Promise<WebAssembly.Module | undefined>>();

async function compile(build: Build): Promise<WebAssembly.Module | undefined> {
  const url = new URL(`${build}.wasm`, folder);
  const bytes = await readFile(url).catch((cause: unknown) => {
    throw new EngineError({
      code: 'KERNELS_NOT_BUILT',
      message: 'the WebAssembly kernels are missing',
      where: { file: fileURLToPath(url) },
      fix: 'run `npm run build`',
      cause,
    });
  });
  if (!WebAssembly.validate(bytes)) return undefined;
  return WebAssembly.compile(bytes);
}

/** The relaxed build where the runtime takes it (fused multiply–add), else the plain one; or the one asked for. */
export async function loadModule(wanted?: Build): Promise<CompiledModule> {
  for (const build of wanted ? [wanted] : (['relaxed', 'simd'] as const)) {
    let module = compiled.get(build);
    if (!module) {
      module = compile(build);
      compiled.set(build, module);
      // A missing file may be there at the next try.
      module.catch(() => compiled.delete(build));
    }
    const ready = await module;
    if (ready) return { build, module: ready };
  }
  throw new EngineError({
    code: 'NO_SIMD',
    message: `this runtime (${process.version}) does not accept the ${wanted ?? 'simd'} WebAssembly build`,
    fix: wanted === 'relaxed' ? 'use Node 22 or later, or the simd build' : 'use Node 20.19 or later',
  });
}
