/** Every kernel of the contract, assembled from the files that implement them. */
import { EngineError } from '../../errors.js';
import type { Kernels } from '../../kernels.js';
import * as elementwise from './elementwise.js';
import type { Recorder } from './recorder.js';

/** A module of kernels: functions of the contract's names that take the recorder first. */
type Implementation = {
  [K in keyof Kernels]?: (recorder: Recorder, ...args: Parameters<Kernels[K]>) => ReturnType<Kernels[K]>;
};

const modules: Implementation[] = [elementwise];

export function createKernels(recorder: Recorder): Kernels {
  const kernels: Record<string, (...args: never[]) => unknown> = {};
  for (const module of modules) {
    for (const [name, implementation] of Object.entries(module)) {
      kernels[name] = (implementation as (...args: unknown[]) => unknown).bind(undefined, recorder);
    }
  }
  return new Proxy(kernels, {
    get(target, name) {
      if (typeof name === 'symbol' || name in target) return target[name as string];
      throw new EngineError({ code: 'KERNEL_MISSING', message: `webgpu has no kernel ${name}` });
    },
  }) as unknown as Kernels;
}
