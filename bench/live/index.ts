/** The live side: what comes in, what goes out, and what it costs. `soak` is the ten minutes of the steady load. */

import type { SuiteOptions } from '../main.js';
import { publish, type Row, report } from '../measure.js';
import { heldRows } from './held.js';
import { ingestRows } from './ingest.js';
import { memoryRows, steadyRows } from './load.js';
import { recoveryRows } from './recovery.js';
import { liveModel } from './setup.js';
import { costRows, idleRows } from './single.js';

const PARTS: Record<string, () => Promise<Row[]>> = {
  idle: async () => [...(await idleRows('redis')), ...(await idleRows('postgres'))],
  cost: costRows,
  memory: async () => [...(await heldRows()), ...(await memoryRows())],
  ingest: ingestRows,
  recovery: async () => [...(await recoveryRows('redis')), ...(await recoveryRows('postgres'))],
  steady: () => steadyRows(60),
  soak: () => steadyRows(600),
};

export async function run({ out, only }: SuiteOptions): Promise<void> {
  const rows: Row[] = [];
  for (const [name, part] of Object.entries(PARTS)) {
    if (only ? !only.includes(name) : name === 'soak') continue;
    rows.push(...(await part()));
  }
  publish(report('live', `WASM; ${liveModel('/tmp/adder-bench-model').note}`, rows), out);
}
