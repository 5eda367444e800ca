/** The scans of the WebGPU backend: Mamba-1's selective scan and Mamba-2's SSD, forward and backward. */
import type { Kernels } from '../../../kernels.js';
import type { Recorder } from '../recorder.js';
import { selectiveCheckpointShape } from './selective-backward.js';
import { ssdCheckpointShape } from './ssd-shape.js';

export { selectiveScan } from './selective.js';
export { selectiveScanBackward } from './selective-backward.js';
export { ssd } from './ssd.js';
export { ssdBackward } from './ssd-backward.js';

export function checkpointShape(
  recorder: Recorder,
  ...[kind, dims]: Parameters<Kernels['checkpointShape']>
): readonly number[] | undefined {
  return kind === 'selectiveScan' ? selectiveCheckpointShape(recorder, dims) : ssdCheckpointShape(recorder, dims);
}
