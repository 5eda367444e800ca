import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AdderError } from '../platform/errors.js';
import { decideAll, EventDecider, type EventFrame, type SpeechEvent } from './events.js';

const run = (...parts: [number, number][]) => parts.flatMap(([p, n]) => new Array<number>(n).fill(p));
const brief = (events: SpeechEvent[]) => events.map((e) => [e.type, e.at / 160, e.sample / 160]);

describe('speech events', () => {
  it('start and end lie where the stretch began, and are known when it is long enough', () => {
    const track = run([0.1, 10], [0.9, 40], [0.05, 20]);
    expect(brief(decideAll(track, {}, { startMs: 30, endMs: 60 }))).toEqual([
      ['speech_start', 10, 13],
      ['speech_end', 50, 56],
    ]);
  });

  it('is not moved by short bursts, short dips or what lies between the thresholds', () => {
    const track = run([0.1, 10], [0.9, 2], [0.1, 10], [0.9, 20], [0.1, 5], [0.9, 20], [0.45, 100], [0.1, 20]);
    expect(decideAll(track).map((e) => e.type)).toEqual(['speech_start', 'speech_end']);
  });

  it('closes what is open at the end of the stream, at the silence that had begun', () => {
    expect(brief(decideAll(run([0.9, 30], [0.1, 2])))).toEqual([
      ['speech_start', 0, 3],
      ['speech_end', 30, 32],
    ]);
    expect(decideAll([])).toEqual([]);
  });

  it('predicts an end once for each approach, with its lead', () => {
    const speech = run([0.9, 100], [0.1, 10]);
    const end200 = run([0.1, 40], [0.8, 5], [0.5, 5], [0.8, 5], [0.2, 5], [0.8, 50]);
    const events = decideAll(speech, { 200: end200 }, { predictThreshold: { 200: 0.6 }, rearm: 0.6 });
    // .5 is above the re-arming level of .36: the second .8 is the same approach; after .2 there is a new one.
    expect(events.filter((e) => e.type === 'end_predicted')).toEqual([
      { type: 'end_predicted', sample: 41 * 160, at: 41 * 160 + 3200, probability: 0.8, lead: 200 },
      { type: 'end_predicted', sample: 61 * 160, at: 61 * 160 + 3200, probability: 0.8, lead: 200 },
    ]);
  });

  it('does not predict in silence, in the first moments, or for leads without a threshold', () => {
    const end = run([0.99, 200]);
    expect(decideAll(run([0.1, 200]), { 200: end })).toEqual([]);
    const events = decideAll(run([0.9, 200]), { 200: end, 700: end }, { predictAfterMs: 500 });
    expect(events.filter((e) => e.type === 'end_predicted').map((e) => [e.lead, e.sample])).toEqual([[200, 50 * 160]]);
  });

  it('alternates, never goes back in time, is causal and survives snapshots', () => {
    const probability = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(Number.NaN));
    fc.assert(
      fc.property(fc.array(fc.tuple(probability, probability), { maxLength: 300 }), fc.nat(300), (rows, at) => {
        const frames: EventFrame[] = rows.map(([speech, p]) => ({ speech, end: { 200: p } }));
        const options = { startMs: 20, endMs: 30, predictAfterMs: 0 };
        const whole = new EventDecider(options);
        let other = new EventDecider(options);
        const events: SpeechEvent[] = [];
        frames.forEach((frame, t) => {
          if (t === at) other = EventDecider.restore(structuredClone(other.snapshot()), options);
          const made = whole.push(frame);
          expect(other.push(frame)).toEqual(made);
          events.push(...made);
        });
        events.push(...whole.finish());
        const changes = events.filter((e) => e.type !== 'end_predicted');
        changes.forEach((e, i) => {
          expect(e.type).toBe(i % 2 === 0 ? 'speech_start' : 'speech_end');
          expect(e.at).toBeLessThanOrEqual(e.sample);
          if (i > 0) expect(e.at).toBeGreaterThanOrEqual(changes[i - 1].at);
        });
        expect(changes.length % 2).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses tunables that cannot be', () => {
    for (const bad of [
      { startThreshold: 1.2 },
      { startThreshold: 0.3, endThreshold: 0.4 },
      { endMs: -1 },
      { startMs: Number.NaN },
      { predictThreshold: { 200: 2 } },
      { rearm: 3 },
    ]) {
      expect(() => new EventDecider(bad)).toThrow(AdderError);
    }
  });
});
