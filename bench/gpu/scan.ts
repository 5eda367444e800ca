/**
 * Tuning of the WebGPU scans: variants of the selective scan and of SSD at the shapes of published figures and of the
 * forecaster, checked and timed by the GPU's own clock, kernel by kernel.
 *
 *   node dist/bench/gpu/scan.js [--out FILE.json] [--only scan,ssd,step] [--shapes TEXT] [--variants TEXT]
 *                               [--repeats 15] [--smoke]
 *
 * --shapes and --variants keep those whose name contains the text. --smoke runs tiny shapes on any adapter: a test of this
 * script. Needs nothing but node and the npm package webgpu.
 */
import { writeFileSync } from 'node:fs';
import { createWebgpuBackend, type WebgpuBackend } from '../../src/engine/backends/webgpu/index.js';
import { scanCase, ssdCase, stepCases, type TimedCase } from './scan-cases.js';
import { checkScan, checkSsd, identityError } from './scan-check.js';
import { SCAN_SHAPES, SCAN_VARIANTS, SMOKE, SSD_SHAPES, SSD_VARIANTS, withTuning } from './scan-variants.js';

interface Result {
  shape: string;
  variant: string;
  /** fwd, bwd or step. */
  pass: string;
  /** Median and least milliseconds of a call: the sum of its launches. */
  ms?: number;
  best?: number;
  /** Bytes each input and output moved once at 2.7 TB/s, and flops at 60 TFLOP/s (f32) or 400 (f16): the larger, in ms. */
  floor?: number;
  /** Median milliseconds by kernel. */
  kernels?: Record<string, number>;
  /** Largest relative error against float64, and of the identities that tie gradients to outputs at full size. */
  error?: number;
  identity?: number;
  failure?: string;
}

const option = (name: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const smoke = process.argv.includes('--smoke');
const repeats = Number(option('repeats') ?? (smoke ? 2 : 15));
const only = (option('only') ?? 'scan,ssd,step').split(',');
const wantedShape = option('shapes') ?? '';
const wantedVariant = option('variants') ?? '';
const results: Result[] = [];

async function open(): Promise<WebgpuBackend> {
  const backend = await createWebgpuBackend({ adapter: smoke ? 'any' : 'hardware', timeoutMs: 60_000 });
  if (!backend) throw new Error('no WebGPU adapter');
  return backend;
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Times `call`, recorded `repeats` times over; launches are stamped one by one, so that gaps between them do not count. */
async function time(backend: WebgpuBackend, call: () => void, row: Result): Promise<void> {
  const plan = backend.record(() => {
    for (let i = 0; i < repeats; i++) call();
  });
  try {
    plan.run();
    await backend.sync();
    const launches = await plan.timings();
    const perCall = launches.length / repeats;
    const calls = Array.from({ length: repeats }, (_, i) => launches.slice(i * perCall, (i + 1) * perCall));
    const sums = calls.map((call) => call.reduce((sum, { ms }) => sum + ms, 0));
    row.ms = median(sums);
    row.best = Math.min(...sums);
    row.kernels = {};
    for (let k = 0; k < perCall; k++) {
      const name = calls[0][k].kernel;
      row.kernels[name] = (row.kernels[name] ?? 0) + median(calls.map((call) => call[k].ms));
    }
  } finally {
    plan.dispose();
  }
}

function print(row: Result): void {
  const number = (value: number | undefined, digits: number) => (value === undefined ? '-' : value.toFixed(digits));
  const error = (value: number | undefined) => (value === undefined ? '-' : value.toExponential(1));
  console.log(
    `${row.shape.padEnd(28)} ${row.variant.padEnd(26)} ${row.pass.padEnd(5)} ${number(row.ms, 4).padStart(9)} ms (best ${number(row.best, 4)}, floor ${number(row.floor, 4)})  err ${error(row.error)} id ${error(row.identity)} ${row.failure ?? ''}`,
  );
}

function detail(row: Result): void {
  const parts = Object.entries(row.kernels ?? {}).sort((a, b) => b[1] - a[1]);
  console.log(`    ${parts.map(([name, ms]) => `${name} ${ms.toFixed(4)}`).join(' · ')}`);
}

/** Checks and times a case's forward and backward pass; a failure becomes a row. */
async function measure(
  backend: WebgpuBackend,
  subject: TimedCase,
  variant: string,
  check: () => Promise<number>,
): Promise<void> {
  const rows: Result[] = [
    { shape: subject.name, variant, pass: 'fwd', floor: subject.floors.forward },
    { shape: subject.name, variant, pass: 'bwd', floor: subject.floors.backward },
  ];
  try {
    const error = await check();
    for (const row of rows) row.error = error;
    await time(backend, subject.forward, rows[0]);
    await time(backend, subject.backward, rows[1]);
    rows[1].identity = await identityError(backend, subject);
    rows[0].error = Math.max(error, await subject.sample());
  } catch (cause) {
    for (const row of rows) row.failure = (cause as Error).message.split('\n')[0].slice(0, 200);
  }
  for (const row of rows) {
    results.push(row);
    print(row);
    detail(row);
  }
}

let backend = await open();
console.log(backend.description);

async function family(
  name: string,
  shapes: readonly { name: string }[],
  variants: readonly { name: string; shapes?: string }[],
  run: (shape: never, variant: never) => Promise<void>,
): Promise<void> {
  if (!only.includes(name)) return;
  for (const shape of shapes.filter((s) => s.name.includes(wantedShape))) {
    for (const variant of variants.filter((v) => v.name.includes(wantedVariant))) {
      if (variant.shapes && !shape.name.includes(variant.shapes)) continue;
      await run(shape as never, variant as never);
      if (backend.gpu.lost) {
        await backend.dispose();
        backend = await open();
      }
    }
  }
}

await family('scan', smoke ? SMOKE.scan : SCAN_SHAPES, SCAN_VARIANTS, (async (
  shape: (typeof SCAN_SHAPES)[number],
  variant: (typeof SCAN_VARIANTS)[number],
) => {
  const restore = withTuning('selective', variant.tuning);
  const subject = scanCase(backend, shape);
  try {
    await measure(backend, subject, variant.name, () => checkScan(backend, shape.dState, smoke));
  } finally {
    restore();
    subject.free();
  }
}) as never);

await family('ssd', smoke ? SMOKE.ssd : SSD_SHAPES, SSD_VARIANTS, (async (
  shape: (typeof SSD_SHAPES)[number],
  variant: (typeof SSD_VARIANTS)[number],
) => {
  if (variant.precision === 'f16' && !backend.gpu.subgroupMatrix) return;
  const restore = withTuning('ssd', variant.tuning);
  const subject = ssdCase(backend, shape, variant.precision);
  try {
    await measure(backend, subject, variant.name, () => checkSsd(backend, shape, variant.precision, smoke));
  } finally {
    restore();
    subject.free();
  }
}) as never);

if (only.includes('step')) {
  for (const subject of stepCases(backend, smoke)) {
    const row: Result = { shape: subject.name, variant: '', pass: 'step', floor: subject.floor };
    try {
      await time(backend, subject.call, row);
      row.error = await subject.check();
    } catch (cause) {
      row.failure = (cause as Error).message.split('\n')[0].slice(0, 200);
    }
    subject.free();
    results.push(row);
    print(row);
  }
}

console.log('\nbest of each shape and pass');
for (const key of new Set(results.map((r) => `${r.shape}|${r.pass}`))) {
  const rows = results.filter((r) => `${r.shape}|${r.pass}` === key && r.ms !== undefined);
  const best = rows.sort((a, b) => (a.ms ?? 0) - (b.ms ?? 0))[0];
  if (best) print(best);
}
const out = option('out');
if (out) {
  writeFileSync(out, JSON.stringify({ device: backend.description, date: new Date().toISOString(), results }, null, 1));
}
await backend.dispose();
// Timed-out work would keep the process alive.
process.exit(results.some((r) => r.failure) ? 1 : 0);
