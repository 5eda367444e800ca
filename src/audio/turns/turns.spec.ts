import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { onEveryBackend } from '../../../test/conformance/backends.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { NO_TURN_CALIBRATION, type TurnConfig } from './config.js';
import { TURN_INPUTS, TurnInputs, turnRows } from './history.js';
import {
  Activity,
  EndOfTurn,
  loadTurnModel,
  scanConversation,
  TURN_TRACKS,
  TurnListener,
  TurnModel,
  turnTrackOf,
} from './index.js';
import { turnParameters } from './network.js';

const config: TurnConfig = {
  version: 1,
  architecture: 'mamba2-turns',
  inputs: 14,
  dModel: 16,
  layers: 2,
  expand: 2,
  headDim: 8,
  dState: 8,
  convWidth: 4,
  normEps: 1e-6,
};

function weights(): Float32Array {
  const layout = new ParameterLayout(turnParameters(config));
  const random = new Random(2);
  const values = layout.initial(random);
  const { shape, offset } = layout.place('head.weight');
  for (let i = 0; i < shape[0] * shape[1]; i++) values[offset + i] = 0.5 * random.normal();
  return values;
}

function talk(frames: number, seed: number): [Uint8Array, Uint8Array] {
  const random = new Random(seed);
  const sides = [0, 1].map(() => {
    let on = 0;
    return Uint8Array.from({ length: frames }, () => {
      if (random.uniform() < 0.04) on = 1 - on;
      return on;
    });
  });
  return [sides[0], sides[1]];
}

function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce(
    (most, v, i) => (Number.isNaN(v) && Number.isNaN(b[i]) ? most : Math.max(most, Math.abs(v - b[i]))),
    0,
  );
}

onEveryBackend('turn model', (backend) => {
  let model: TurnModel;
  beforeAll(() => {
    const parts = { name: 'test', digest: 'abc', config, calibration: NO_TURN_CALIBRATION };
    model = new TurnModel(backend, { ...parts, values: weights() });
  });
  afterAll(() => model.close());

  it('streams what it scans, at any chunking and through a saved state', async () => {
    const [a, b] = talk(300, 1);
    const whole = await scanConversation(model, [a, b]);
    const listener = new TurnListener(model);
    // Others go on beside it: one that keeps pace, one that falls behind, one that leaves.
    const [steady, slow, gone] = [listener.open(), listener.open(), listener.open()];
    let conversation = listener.open();
    const parts: number[] = [];
    const beside: number[] = [];
    const cuts = [1, 1, 20, 7, 111, 300];
    for (let at = 0, i = 0; at < a.length; at += cuts[i++]) {
      const [x, y] = [a.subarray(at, at + cuts[i]), b.subarray(at, at + cuts[i])];
      if (i === 3) {
        const saved = structuredClone(await conversation.save());
        conversation.close();
        gone.close();
        conversation = listener.open(saved);
        expect(() => listener.open({ ...saved, digest: 'other' })).toThrow(/other weights/);
      }
      conversation.push(x, y);
      steady.push(y, x);
      if (i === 4) slow.push(a, b);
      await listener.step();
      const { first, values } = conversation.take();
      expect(first).toBe(at);
      for (const v of values) parts.push(v);
      for (const v of steady.take().values) beside.push(v);
    }
    expect(difference(Float32Array.from(parts), whole.values)).toBeLessThan(1e-4);
    expect(difference(slow.take().values, whole.values)).toBeLessThan(1e-4);
    const other = await scanConversation(model, [b, a]);
    expect(difference(Float32Array.from(beside), other.values)).toBeLessThan(1e-4);
    expect(() => conversation.push([1], [])).toThrow(expect.objectContaining({ code: 'BAD_ACTIVITY' }));
    expect(() => gone.push([1], [1])).toThrow(expect.objectContaining({ code: 'SESSION_CLOSED' }));
    await listener.close();
  });

  it('does not care which side is called A', async () => {
    const [a, b] = talk(200, 4);
    const [ab, ba] = [await scanConversation(model, [a, b]), await scanConversation(model, [b, a])];
    for (const ms of [200, 600, 1200, 2000] as const) {
      expect(difference(turnTrackOf(ab, `a_${ms}`), turnTrackOf(ba, `b_${ms}`))).toBeLessThan(1e-5);
    }
    expect(difference(turnTrackOf(ab, 'backchannel_a'), turnTrackOf(ba, 'backchannel_b'))).toBeLessThan(1e-5);
    const shift = turnTrackOf(ab, 'shift');
    expect(difference(shift, turnTrackOf(ba, 'shift'))).toBeLessThan(1e-5);
    const talked = a.findIndex((v, t) => v !== b[t]);
    shift.forEach((v, t) => {
      expect(Number.isNaN(v)).toBe(t < talked || a[t] === 1 || b[t] === 1);
    });
    expect(TURN_TRACKS.length).toBe(ab.values.length / ab.count);
  });
});

describe('history rows', () => {
  it('say times and shares by hand', () => {
    const rows = turnRows([Uint8Array.from([0, 0, 1, 1, 1, 0]), Uint8Array.from([1, 1, 1, 1, 1, 1])]);
    const column = (c: number, t: number) => rows[t * TURN_INPUTS + c];
    const log = (frames: number) => Math.fround(Math.log1p(frames) / 7);
    expect([0, 1, 2, 3, 4, 5].map((t) => column(0, t))).toEqual([0, 0, 1, 1, 1, 0]);
    expect(column(1, 4)).toBe(log(3));
    expect(column(3, 4)).toBe(log(2));
    expect([column(1, 5), column(2, 5)]).toEqual([log(1), log(3)]);
    expect(column(4, 3)).toBeCloseTo(1 / 50 + (1 - 1 / 50) / 50, 6);
    expect(column(7, 0)).toBe(1);
  });

  it('go on from a snapshot', () => {
    const [a, b] = talk(500, 9);
    const whole = turnRows([a, b]);
    const first = new TurnInputs();
    const out = new Float32Array(TURN_INPUTS);
    for (let t = 0; t < 250; t++) first.push(a[t], b[t], out, 0);
    const second = TurnInputs.restore(JSON.parse(JSON.stringify(first.snapshot())));
    for (let t = 250; t < 500; t++) {
      second.push(a[t], b[t], out, 0);
      expect(out).toEqual(whole.slice(t * TURN_INPUTS, (t + 1) * TURN_INPUTS));
    }
  });
});

describe('activity', () => {
  it('follows the mean of two hops with hysteresis, however the hops come', () => {
    const speech = [0.9, 0.2, 0.4, 0.4, 0.3, 0.3, 0.4, 0.5, Number.NaN, 1, 0.1];
    const whole = [...new Activity().push(speech)];
    expect(whole).toEqual([1, 1, 0, 0, 1]);
    const live = new Activity();
    expect(speech.flatMap((p) => [...live.push([p])])).toEqual(whole);
  });
});

describe('end of turn', () => {
  it('decides once a silence: at the threshold, not before the delay, at the latest at the timeout', () => {
    const decider = new EndOfTurn({ threshold: 0.7, delayMs: 100, timeoutMs: 300 });
    const fired = (shifts: number[]) => shifts.map((s) => decider.push(s)).filter((ms) => ms !== undefined);
    expect(fired([Number.NaN, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])).toEqual([100]);
    expect(fired([Number.NaN, ...new Array(30).fill(0.1)])).toEqual([300]);
    expect(fired([Number.NaN, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.8, 0.8])).toEqual([140]);
    expect(fired([Number.NaN, 0.9, 0.9, Number.NaN])).toEqual([]);
  });

  it('never waits longer for a lower threshold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 60 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (shifts, t) => {
          const at = (threshold: number) => {
            const decider = new EndOfTurn({ threshold });
            return shifts.map((s) => decider.push(s)).find((ms) => ms !== undefined) ?? Number.POSITIVE_INFINITY;
          };
          expect(at(t / 2)).toBeLessThanOrEqual(at(t));
        },
      ),
    );
    expect(() => new EndOfTurn({ threshold: 2 })).toThrow(/threshold/);
    expect(() => new EndOfTurn({ delayMs: 500, timeoutMs: 100 })).toThrow(/delay/);
  });
});

describe('the shipped model', () => {
  it('loads by its name and expects who talks to go on', async () => {
    const model = await loadTurnModel(undefined, 'wasm');
    const tracks = await scanConversation(model, [new Uint8Array(500).fill(1), new Uint8Array(500)]);
    expect(turnTrackOf(tracks, 'a_200')[499]).toBeGreaterThan(0.8);
    expect(turnTrackOf(tracks, 'b_200')[499]).toBeLessThan(0.2);
    await model.close();
  });
});
