import type { MatmulArgs } from '../../kernels.js';
import type { Recorder } from './recorder.js';

export function matmulF16(_recorder: Recorder, _args: MatmulArgs, _M: number, _N: number, _K: number): boolean {
  return false;
}
