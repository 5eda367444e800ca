/** What bench/gpu/scan.ts measures: shapes, and one change at a time to how the kernels divide their work. */
import { tuning } from '../../src/engine/backends/webgpu/scan/tuning.js';
import type { Precision } from '../../src/engine/kernels.js';

export interface ScanShape {
  name: string;
  batch: number;
  dInner: number;
  length: number;
  dState: number;
}
export interface SsdShape {
  name: string;
  batch: number;
  length: number;
  nHeads: number;
  headDim: number;
  nGroups: number;
  dState: number;
}

const scan = (batch: number, dInner: number, length: number, dState: number): ScanShape => ({
  name: `scan ${batch}x${dInner}x${length}x${dState}`,
  batch,
  dInner,
  length,
  dState,
});
const ssd = (
  batch: number,
  length: number,
  nHeads: number,
  headDim: number,
  nGroups: number,
  dState: number,
): SsdShape => ({
  name: `ssd ${batch}x${length}x${nHeads}x${headDim}x${nGroups}x${dState}`,
  batch,
  length,
  nHeads,
  headDim,
  nGroups,
  dState,
});

export const SCAN_SHAPES: ScanShape[] = [scan(8, 1024, 2048, 16), scan(1, 1024, 16384, 16), scan(64, 512, 512, 16)];
/** The last three: the forecaster's training batches, and the gap-filling length between them. */
export const SSD_SHAPES: SsdShape[] = [
  ssd(8, 2048, 16, 64, 1, 128),
  ssd(1, 16384, 16, 64, 1, 128),
  ssd(64, 512, 8, 64, 1, 64),
  ssd(512, 72, 8, 64, 1, 64),
  ssd(2048, 12, 8, 64, 1, 64),
];
export const SMOKE = {
  scan: [scan(1, 24, 70, 16)],
  ssd: [ssd(1, 70, 2, 16, 1, 16)],
};

type Selective = Partial<(typeof tuning)['selective']>;
type Ssd = Partial<(typeof tuning)['ssd']>;

/** `shapes`: only shapes whose name contains it. */
export const SCAN_VARIANTS: { name: string; tuning: Selective; shapes?: string }[] = [
  { name: 'default', tuning: {} },
  { name: '16 channels', tuning: { channels: 16, backwardChannels: 16 } },
  { name: '64 channels', tuning: { channels: 64, backwardChannels: 64 } },
  { name: 'tiles of 8', tuning: { steps: 8 } },
  { name: '2 lanes', tuning: { lanes: 2 } },
  { name: 'cut to 64 k', tuning: { enoughInvocations: 2 ** 30, targetInvocations: 65_536 }, shapes: '8x1024' },
  { name: 'cut to 128 k', tuning: { enoughInvocations: 2 ** 30, targetInvocations: 131_072 }, shapes: 'x1024' },
  { name: 'cut to 32 k', tuning: { targetInvocations: 32_768 }, shapes: '1x1024x16384' },
];

export const SSD_VARIANTS: { name: string; precision: Precision; tuning: Ssd; shapes?: string }[] = [
  { name: 'f32', precision: 'f32', tuning: {} },
  { name: 'f32 chunk 64', precision: 'f32', tuning: { chunk: 64 } },
  { name: 'f32 slab 32', precision: 'f32', tuning: { slab: 32 } },
  { name: 'f32 slab 8', precision: 'f32', tuning: { slab: 8 }, shapes: '8x2048' },
  { name: 'f32 tile 32', precision: 'f32', tuning: { tile: 32 } },
  { name: 'f32 chunks alone', precision: 'f32', tuning: { serialWorkgroups: 2 ** 30 }, shapes: '8x2048' },
  { name: 'f16', precision: 'f16', tuning: {} },
  { name: 'f16 chunk 64', precision: 'f16', tuning: { chunk: 64 } },
  { name: 'f16 slab 64', precision: 'f16', tuning: { matrixSlab: 64 } },
  { name: 'f16 slab 16', precision: 'f16', tuning: { matrixSlab: 16 }, shapes: '8x2048' },
  { name: 'f16 chunks alone', precision: 'f16', tuning: { serialWorkgroups: 2 ** 30 }, shapes: '8x2048' },
  { name: 'f16 heads together', precision: 'f16', tuning: { scoreWorkgroups: 256 }, shapes: '8x2048' },
];

/** Changes the tuning until the returned function is called. */
export function withTuning<K extends keyof typeof tuning>(part: K, change: Partial<(typeof tuning)[K]>): () => void {
  const before = { ...tuning[part] };
  Object.assign(tuning[part], change);
  return () => Object.assign(tuning[part], before);
}
