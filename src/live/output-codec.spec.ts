import { expect, it } from '@jest/globals';
import type { LiveOutput } from './feed.js';
import { asStored, decodeOutput, encodeOutput } from './output-codec.js';
import { packOutputs, unpackOutputs } from './publish.js';

const output = (series: string, value: number, scores = 2): LiveOutput => ({
  owner: 'ännchen',
  series,
  seriesId: 7n,
  sequence: 12,
  position: 1e6 + 1,
  at: 1_767_225_600_000,
  value,
  frequency: '15min',
  times: Float64Array.of(1, 2.5, 253_402_300_799_999),
  levels: [0.1, 0.5, 0.9],
  quantiles: [-1, 0, 1].map((d) =>
    asStored(
      Float64Array.of(d, 3 * d, 1e-3 * d).map((x) => (Number.isNaN(value) ? 0 : value) + x),
      value,
    ),
  ),
  scores: Array.from({ length: scores }, (_, i) => ({ time: i, value: 2, expected: 3, low: 1, high: 4, score: -1.5 })),
  model: 'modèle',
});

it.each([0, 1e9, -3.25, Number.NaN])('keeps an output about %p as it is', (value) => {
  const whole = output('a', value);
  const { owner, series, seriesId, sequence, at } = whole;
  // Wherever in memory the bytes lie.
  const bytes = encodeOutput(whole);
  const odd = Buffer.concat([Buffer.alloc(3), bytes]).subarray(3);
  expect(decodeOutput({ owner, series, seriesId, sequence, at }, odd)).toEqual(whole);
});

it('passes over outputs that nobody wants', () => {
  const outputs = ['a/1', 'b/ü', 'a/2'].map((name, i) => output(name, i, i));
  const message = packOutputs(outputs.map((one) => ({ output: one, bytes: encodeOutput(one) })));
  expect([...unpackOutputs(message, (_, name) => name.startsWith('a/'))]).toEqual([outputs[0], outputs[2]]);
  expect([...unpackOutputs(message, () => true)]).toEqual(outputs);
});

it('refuses bytes of another version', () => {
  const bytes = encodeOutput(output('a', 1));
  bytes[0] = 9;
  expect(() => decodeOutput(output('a', 1), bytes)).toThrow('version 9');
});
