/** What this backend leaves to the others: it infers, it does not train. */
import { EngineError } from '../../errors.js';
import type { Kernels } from '../../kernels.js';

export function inferenceOnly(kernel: string): never {
  throw new EngineError({
    code: 'NO_TRAINING',
    message: `${kernel}: training needs webgpu or reference`,
    where: { field: kernel },
    fix: 'choose the webgpu backend for training, or reference for small checks',
  });
}

const TRAINING = [
  'embeddingBackward',
  'rmsNormBackward',
  'gatedRmsNormBackward',
  'convBackward',
  'selectiveScanBackward',
  'ssdBackward',
  'swigluBackward',
  'attentionBackward',
  'unaryBackward',
  'crossEntropy',
  'mse',
  'pinball',
  'adamW',
] as const satisfies readonly (keyof Kernels)[];

export type TrainingKernels = Pick<Kernels, (typeof TRAINING)[number]>;

export const trainingKernels = Object.fromEntries(
  TRAINING.map((name) => [name, () => inferenceOnly(name)]),
) as unknown as TrainingKernels;
