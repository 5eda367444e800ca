/**
 * The two faces of every layer on every backend: any split of a sequence between scan and step gives the outputs and
 * the state of one scan, which agree with the float64 oracle; sequences of a batch do not see each other.
 */
import { expect, it } from '@jest/globals';
import type { Backend } from '../../../src/engine/backend.js';
import { createReferenceBackend } from '../../../src/engine/backends/reference/index.js';
import { Graph } from '../../../src/engine/graph.js';
import { freeState, newState, readState, type SequenceLayer, step } from '../../../src/engine/layers/layer.js';
import { Random } from '../../../src/engine/random.js';
import { onEveryBackend } from '../backends.js';
import { expectClose, expectSame } from '../compare.js';
import { build, cut, layerCases, type Outcome, type Sequences, scan, sequences, upload } from './layer-case.js';

const oracle = createReferenceBackend();

/** Of a layer, in float32; the oracle does far better. */
const toleranceOf = (backend: Backend) => (backend.name === 'reference' ? 1e-12 : 1e-5);

function expectOutcome(ours: Outcome, expected: Outcome, tolerance: number, what: string): void {
  expectClose(ours.y, expected.y, tolerance, `${what}, outputs`);
  for (const [name, values] of Object.entries(expected.state)) {
    expectClose(ours.state[name], values, tolerance, `${what}, state ${name}`);
  }
}

/** The sequence in random parts, each one scan (of possibly no token) or as many steps. */
async function split(backend: Backend, layer: SequenceLayer, x: Sequences, random: Random): Promise<Outcome> {
  const { batch, length, width } = x;
  const graph = new Graph(backend);
  const state = newState(backend, layer, batch);
  const y = new Float64Array(x.data.length).fill(Number.NaN);
  const advance = async (face: 'scan' | 'step', from: number, to: number) => {
    const input = upload(backend, cut(x, from, to));
    const out =
      face === 'scan'
        ? layer.scan(graph, input, { state })
        : step(layer, graph, { ...input, shape: [batch, width] }, state);
    const part = await backend.read(out);
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < (to - from) * width; i++)
        y[(b * length + from) * width + i] = part[b * (to - from) * width + i];
    }
    graph.release(out);
    backend.free(input);
  };
  for (let at = 0; at < length; ) {
    const count = Math.min(length - at, random.integer(12));
    if (random.integer(2) === 0) await advance('scan', at, at + count);
    else for (let i = 0; i < count; i++) await advance('step', at + i, at + i + 1);
    at += count;
  }
  const outcome = { y, state: await readState(backend, state) };
  freeState(backend, state);
  return outcome;
}

onEveryBackend('layer', (backend) => {
  for (const layerCase of layerCases) {
    it(`${layerCase.name}: scan is the oracle's, in any split with step`, async () => {
      const before = backend.memory.bytes;
      const { layer, parameters } = build(backend, layerCase);
      const reference = build(oracle, layerCase);
      for (const [seed, length] of [1, 2, 16, 33, 61].entries()) {
        const random = new Random(seed + 1);
        const x = sequences(random, 1 + random.integer(3), length, layerCase.dModel);
        const expected = await scan(oracle, reference.layer, x);
        const what = `batch ${x.batch}, length ${length}`;
        expectOutcome(await scan(backend, layer, x), expected, toleranceOf(backend), `${what}: scan`);
        const mixed = await split(backend, layer, x, random);
        expectOutcome(mixed, expected, toleranceOf(backend), `${what}: split`);
      }
      parameters.free();
      expect(backend.memory.bytes).toBe(before);
    });

    it(`${layerCase.name}: sequences of different length do not see each other or their padding`, async () => {
      const { layer, parameters } = build(backend, layerCase);
      const random = new Random(7);
      const lengths = [5, 0, 33, 1, 40];
      const x = sequences(random, lengths.length, 40, layerCase.dModel);
      const together = await scan(backend, layer, x, lengths);
      const other: Sequences = { ...x, data: x.data.slice() };
      for (const [b, length] of lengths.entries()) {
        const from = (b * x.length + length) * x.width;
        other.data.subarray(from, (b + 1) * x.length * x.width).forEach((_, i, tail) => {
          tail[i] = Math.fround(30 * random.normal());
        });
      }
      const repadded = await scan(backend, layer, other, lengths);
      for (const [b, length] of lengths.entries()) {
        const rows = (y: ArrayLike<number>) =>
          Array.from(y).slice(b * x.length * x.width, (b * x.length + length) * x.width);
        const alone = await scan(backend, layer, cut(x, 0, length, b));
        expectClose(rows(together.y), alone.y, toleranceOf(backend), `sequence ${b}, outputs`);
        expectSame(rows(repadded.y), rows(together.y), `sequence ${b} with other padding`);
        for (const [name, values] of Object.entries(alone.state)) {
          const own = (state: ArrayLike<number>) => Array.from(state).slice(b * values.length, (b + 1) * values.length);
          expectClose(own(together.state[name]), values, toleranceOf(backend), `sequence ${b}, state ${name}`);
          expectSame(
            own(repadded.state[name]),
            own(together.state[name]),
            `sequence ${b}, state ${name}, other padding`,
          );
        }
      }
      parameters.free();
    });
  }
});
