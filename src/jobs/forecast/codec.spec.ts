import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AdderError } from '../../platform/errors.js';
import { type Answer, decodeAnswers, decodeRequests, encodeAnswers, encodeRequests } from './codec.js';

const numbers = (min: number, max: number) =>
  fc.array(fc.double(), { minLength: min, maxLength: max }).map((list) => Float64Array.from(list));

it('requests come back as they were, whatever they hold', () => {
  const request = fc.record({
    history: numbers(0, 20),
    horizon: fc.integer({ min: 1, max: 5000 }),
    season: fc.integer({ min: 1, max: 10_000 }),
    frequency: fc.oneof(fc.constant(undefined), fc.string()),
    quantiles: fc.array(fc.double({ min: 0.001, max: 0.999, noNaN: true }), { maxLength: 12 }),
  });
  fc.assert(
    fc.property(fc.array(request, { maxLength: 12 }), (requests) => {
      expect(decodeRequests(encodeRequests(requests))).toEqual(requests);
    }),
  );
});

it('answers come back as they were: results with a mean where there was one, and errors with all their fields', () => {
  const result = fc
    .record({ horizon: fc.integer({ min: 1, max: 9 }), levels: fc.integer({ min: 1, max: 5 }), mean: fc.boolean() })
    .chain(({ horizon, levels, mean }) =>
      fc.record({
        quantiles: fc.array(numbers(horizon, horizon), { minLength: levels, maxLength: levels }),
        ...(mean ? { mean: numbers(horizon, horizon) } : {}),
      }),
    );
  const failure = fc.record({
    code: fc.string(),
    message: fc.string(),
    fix: fc.string(),
    where: fc.record({ field: fc.string() }),
  });
  const answer = fc.oneof(
    result.map((value) => ({ result: value })),
    failure.map((fields) => ({ error: new AdderError(fields) })),
  );
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 8 }), (answers) => {
      const shown = (list: Answer[]) => list.map((one) => ('error' in one ? one.error.toJSON() : one));
      expect(shown(decodeAnswers(encodeAnswers(answers)))).toEqual(shown(answers));
    }),
  );
});
