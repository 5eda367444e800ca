/** Every kernel of the contract, assembled from the files that implement them. */
import type { Kernels } from '../../kernels.js';
import * as attention from './attention.js';
import * as conv from './conv.js';
import * as elementwise from './elementwise.js';
import * as embedding from './embedding.js';
import * as losses from './losses.js';
import { matmul } from './matmul.js';
import * as norm from './norm.js';
import type { Recorder } from './recorder.js';
import { columnSum, sumSquares } from './reduce.js';
import * as scan from './scan/index.js';

/** The contract with the recorder as first argument: what the modules together must offer. */
type Implementation = {
  [K in keyof Kernels]: (recorder: Recorder, ...args: Parameters<Kernels[K]>) => ReturnType<Kernels[K]>;
};

const implementation: Implementation = {
  ...attention,
  ...conv,
  ...elementwise,
  ...embedding,
  ...losses,
  ...norm,
  ...scan,
  matmul,
  columnSum,
  sumSquares,
};

export function createKernels(recorder: Recorder): Kernels {
  const bound = Object.entries(implementation).map(([name, kernel]) => [
    name,
    (kernel as (...args: unknown[]) => unknown).bind(undefined, recorder),
  ]);
  return Object.fromEntries(bound) as Kernels;
}
