/**
 * A kernel of the contract on every backend against the float64 oracle: random shapes, awkward lengths, strided and
 * repeated rows, ragged batches, states; memory around views untouched, the same bits twice, a replayed plan like an
 * eager call.
 */
import { expect, it } from '@jest/globals';
import type { Backend } from '../../../src/engine/backend.js';
import { createReferenceBackend } from '../../../src/engine/backends/reference/index.js';
import { Random } from '../../../src/engine/random.js';
import { onEveryBackend } from '../backends.js';
import { expectClose, expectSame } from '../compare.js';
import {
  type Call,
  CONTIGUOUS,
  describeCall,
  execute,
  type Layout,
  type Result,
  randomLayout,
  withRepeatedRow,
} from './call.js';
import type { KernelCase } from './case.js';

/** Largest relative error of float32 kernels, in the Euclidean and in the maximum norm. */
const TOLERANCE = 1e-5;
/** Random calls of each kernel, unless its case says otherwise. ADDER_TEST_RUNS makes a longer search. */
const RUNS = 6;
const LONGER = process.env.ADDER_TEST_RUNS;
/** Milliseconds: a software adapter takes seconds to compile each variant of a large kernel. */
const COMPILE_LIMIT = 600_000;
const oracle = createReferenceBackend();

function expectResult(ours: Result, expected: Result, call: Call): void {
  for (const [name, values] of Object.entries(expected)) {
    const { shape, tolerance = TOLERANCE, floor } = call.args[name];
    expectClose(ours[name], values, tolerance, name, shape, floor);
  }
}

/** The oracle's answers by kernel case and seed: several backends ask for the same, and it is slow. */
const answers = new Map<string, Promise<Result[]>>();

async function check(backend: Backend, call: Call, layout: Layout, key: string): Promise<void> {
  let answer = answers.get(key);
  if (!answer) {
    answer = execute(oracle, call, CONTIGUOUS);
    answers.set(key, answer);
  }
  const [expected] = await answer;
  const [first, again] = await execute(backend, call, layout, { times: 2 });
  expectResult(first, expected, call);
  for (const name of Object.keys(first)) expectSame(again[name], first[name], `${name}, the second time`);
  const [planned, replayed] = await execute(backend, call, layout, { times: 2, plan: true });
  expectResult(planned, expected, call);
  for (const name of Object.keys(first)) expectSame(replayed[name], planned[name], `${name}, replayed`);
}

/** Runs all seeds before failing, so that one report shows the pattern of what is wrong. */
async function search(backend: Backend, kernelCase: KernelCase): Promise<void> {
  const failures: string[] = [];
  // The oracle against itself: only layouts, repetition and plans can go wrong.
  const wanted = LONGER ? Number(LONGER) : (kernelCase.runs ?? RUNS);
  const runs = backend.name === 'reference' ? Math.ceil(wanted / 3) : wanted;
  for (let seed = 1; seed <= runs; seed++) {
    const random = new Random(seed);
    const made = kernelCase.make(random, false);
    const layout = seed === 1 ? CONTIGUOUS : randomLayout(made, random);
    const call = withRepeatedRow(made, layout);
    try {
      await check(backend, call, layout, `${kernelCase.name} ${seed}`);
    } catch (error) {
      failures.push(`seed ${seed}: ${(error as Error).message}\n    ${describeCall(call, layout)}`);
    }
  }
  expect(failures.join('\n')).toBe('');
}

/** Defines the tests of these cases for every backend. */
export function testKernels(cases: readonly KernelCase[]): void {
  onEveryBackend('kernel', (backend) => {
    for (const kernelCase of cases) {
      if (kernelCase.training && !backend.trains) continue;
      it(
        kernelCase.name,
        async () => {
          backend.poison = true;
          try {
            await search(backend, kernelCase);
          } finally {
            backend.poison = false;
          }
        },
        COMPILE_LIMIT,
      );
    }
  });
}
