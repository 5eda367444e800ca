/** One kernel call as data, so that the same call runs on any backend, in any memory layout, eagerly or from a plan. */
import type { Backend } from '../../../src/engine/backend.js';
import type { Kernels } from '../../../src/engine/kernels.js';
import type { Random } from '../../../src/engine/random.js';
import { columns, repeatRow, reshape, sizeOf, type Tensor } from '../../../src/engine/tensor.js';

export interface Arg {
  shape: readonly number[];
  /** Contents before the call; none for a pure output. */
  data?: Float64Array | Int32Array;
  /** Written by the call: its contents afterwards are compared. */
  output?: boolean;
  /** A sequence tensor: may have any row stride, and, as an input, one row for all. Others are contiguous at any offset. */
  rows?: boolean;
  /** Where a documented reason allows more than the suite's tolerance. */
  tolerance?: number;
  /** Size of the terms of a sum that may cancel to exactly nothing; see `expectClose`. */
  floor?: number;
}

export interface Call {
  kernel: keyof Kernels;
  /** Tensor arguments by their names in the contract; `fill`, `copy`, … take theirs in order. */
  args: Record<string, Arg>;
  options?: Record<string, unknown>;
}

export type Result = Record<string, ArrayLike<number>>;

/** How the tensors of a call lie in memory: margins around rows and before flat tensors, and which input is one row. */
export interface Layout {
  margins: Record<string, readonly [number, number]>;
  repeated?: string;
}

export const CONTIGUOUS: Layout = { margins: {} };
/** Filled around every view; must still be there afterwards. */
const GUARD = 777.25;
const GUARD_INT = 777;

/** Margins of 0 to 5 elements, multiples of 4 more often because backends have faster paths for them. */
export function randomLayout(call: Call, random: Random): Layout {
  const aligned = random.integer(2) === 0;
  const margin = () => (aligned ? 4 * random.integer(3) : random.integer(6));
  const margins = Object.fromEntries(Object.keys(call.args).map((name) => [name, [margin(), margin()] as const]));
  const repeatable = Object.entries(call.args).filter(
    ([, arg]) => arg.rows && arg.data instanceof Float64Array && !arg.output && arg.data.length > 0,
  );
  const repeated = random.integer(3) === 0 ? repeatable[random.integer(repeatable.length)]?.[0] : undefined;
  return { margins, repeated };
}

/** The call with the rows of the layout's repeated input all alike, so that every layout means the same numbers. */
export function withRepeatedRow(call: Call, { repeated }: Layout): Call {
  if (repeated === undefined) return call;
  const arg = call.args[repeated];
  const width = arg.shape.at(-1) as number;
  const data = Float64Array.from(arg.data as Float64Array, (_, i) => (arg.data as Float64Array)[i % width]);
  return { ...call, args: { ...call.args, [repeated]: { ...arg, data } } };
}

interface Placed {
  view: Tensor;
  base: Tensor;
  /** Contents of the base before the call. */
  before: Float64Array | Int32Array;
  /** Index in the base of every element of the view, in order. */
  index(i: number): number;
}

function place(backend: Backend, name: string, arg: Arg, layout: Layout): Placed {
  const { shape, data } = arg;
  const size = sizeOf(shape);
  const integers = data instanceof Int32Array;
  const [left, right] = layout.margins[name] ?? [0, 0];
  const width = shape.at(-1) as number;
  const repeat = layout.repeated === name;
  const strided = arg.rows && !repeat;
  const rowCount = strided ? size / Math.max(width, 1) : 1;
  const rowWidth = strided || repeat ? width : size;
  const pitch = left + rowWidth + right;
  const base = backend.alloc(strided ? [rowCount, pitch] : [pitch], integers ? 'i32' : 'f32');
  const before = integers
    ? new Int32Array(rowCount * pitch).fill(GUARD_INT)
    : new Float64Array(rowCount * pitch).fill(GUARD);
  const index = (i: number) => Math.floor(i / rowWidth) * pitch + left + (i % rowWidth);
  for (let i = 0; i < (repeat ? width : size); i++) before[index(i)] = data ? data[i] : Number.NaN;
  const inside = columns(base, left, left + rowWidth);
  const view = repeat ? repeatRow(inside, shape) : reshape(inside, shape);
  return { view, base, before, index };
}

/** Kernels that take tensors in order instead of by name. */
export function invoke(kernels: Kernels, { kernel, options }: Call, tensors: Record<string, Tensor>): void {
  const { out, x } = tensors;
  if (kernel === 'fill') kernels.fill(out, options?.value as number);
  else if (kernel === 'copy') kernels.copy(out, x);
  else if (kernel === 'columnSum') kernels.columnSum(out, x, options?.accumulate as boolean | undefined);
  else if (kernel === 'sumSquares') kernels.sumSquares(out, x);
  else (kernels[kernel] as (args: object) => void)({ ...tensors, ...options });
}

/**
 * Runs a call `times` times, its tensors rewritten before each, and returns the outputs of each.
 *
 * Throws if an input or anything around a view changed.
 */
export async function execute(
  backend: Backend,
  call: Call,
  layout: Layout,
  { plan = false, times = 1 } = {},
): Promise<Result[]> {
  const placed = Object.entries(call.args).map(
    ([name, arg]) => [name, arg, place(backend, name, arg, layout)] as const,
  );
  const tensors = Object.fromEntries(placed.map(([name, , { view }]) => [name, view]));
  const recorded = plan ? backend.record(() => invoke(backend.kernels, call, tensors)) : undefined;
  const results: Result[] = [];
  for (let run = 0; run < times; run++) {
    for (const [, , { base, before }] of placed) backend.write(base, before);
    if (recorded) recorded.run();
    else invoke(backend.kernels, call, tensors);
    const result: Result = {};
    for (const [name, arg, { view, base, before, index }] of placed) {
      const after = await backend.read(base);
      const inside = arg.output ? new Set(Array.from({ length: sizeOf(view.shape) }, (_, i) => index(i))) : new Set();
      for (let i = 0; i < after.length; i++) {
        const was = after instanceof Float32Array ? Math.fround(before[i]) : before[i];
        if (inside.has(i) || Object.is(after[i], was)) continue;
        const what = arg.output ? 'memory around the output' : 'the input or memory around it';
        throw new Error(`${call.kernel} changed ${what} ${name} at ${i} of ${after.length}: ${after[i]}`);
      }
      if (arg.output) result[name] = Float64Array.from({ length: sizeOf(view.shape) }, (_, i) => after[index(i)]);
    }
    results.push(result);
  }
  recorded?.dispose();
  for (const [, , { base }] of placed) backend.free(base);
  return results;
}

/** One line that says everything needed to run the call again. */
export function describeCall(call: Call, layout: Layout): string {
  const tensors = Object.entries(call.args).map(
    ([name, { shape }]) =>
      `${name}[${shape}]${layout.repeated === name ? '×row' : ''}@${layout.margins[name] ?? '0,0'}`,
  );
  return `${call.kernel} ${tensors.join(' ')} ${JSON.stringify(call.options ?? {})}`;
}
