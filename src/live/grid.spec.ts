import { describe, expect, it } from '@jest/globals';
import { type GridPlan, planGrid, SETTLED_AFTER, SeriesGrid } from './grid.js';

const START = Date.UTC(2026, 0, 31, 12);
const every = (ms: number, n: number, jitter = 0) =>
  Float64Array.from({ length: n }, (_, i) => START + i * ms + Math.round(jitter * Math.sin(i * 12.9898) * 0.999));

describe('the grid of a series', () => {
  it('is the stated one from the second point on', () => {
    expect(planGrid(every(1000, 1), '1s')).toBeUndefined();
    expect(planGrid(every(1000, 2), '1s')).toEqual({ frequency: '1s', anchor: START, nearest: true });
    // Many points a step: steps begin at round times and gather them.
    const dense = planGrid(every(1000, 2), 'H');
    expect(dense).toMatchObject({ frequency: 'H', nearest: false });
    expect(dense!.anchor % 3_600_000).toBe(0);
    // A point of the far past sets no phase.
    const far = Float64Array.of(-9_223_372_036_000, ...every(3_600_000, 3));
    expect(planGrid(far, 'H')).toEqual({ frequency: 'H', anchor: START, nearest: true });
    expect(planGrid(far.subarray(0, 2), 'H')).toMatchObject({ anchor: far[0] });
  });

  it('is found from eight equal steps, or settled after 32 points, and does not change with more', () => {
    expect(planGrid(every(10_000, 7))).toBeUndefined();
    const exact = planGrid(every(10_000, 8));
    expect(exact).toEqual({ frequency: '10s', anchor: START, nearest: true });
    expect(planGrid(every(10_000, 500))).toEqual(exact);
    const loose = every(60_000, 200, 8000);
    expect(planGrid(loose.subarray(0, 31))).toBeUndefined();
    const settled = planGrid(loose.subarray(0, SETTLED_AFTER));
    expect(settled?.frequency).toBe('1min');
    expect(planGrid(loose)).toEqual(settled);
  });

  it.each([
    ['of equal steps', 0],
    ['that stray', 200_000],
  ])('is that of most points %s where a few are far from them', (_, jitter) => {
    const near = every(3_600_000, 40, jitter);
    for (const far of [
      [-9_223_372_036_000],
      [-62_135_596_800_000, -9_223_372_036_000, 1_234_567],
      [START - 1e11 - 7],
    ]) {
      const times = Float64Array.of(...far, ...near);
      const plan = planGrid(times);
      expect(plan).toEqual(planGrid(times.subarray(0, SETTLED_AFTER)));
      expect(plan?.frequency).toBe('H');
      const grid = new SeriesGrid(plan!);
      const steps = Array.from(near, (time) => grid.step(time));
      expect(steps).toEqual(steps.map((_, i) => steps[0]! + i));
      expect(grid.step(far[0]!)).toBeLessThan(steps[0]! - 20_000);
    }
    expect(planGrid(Float64Array.of(...near.subarray(0, 31), START + 1e12))?.frequency).toBe('H');
  });

  it('stays unknown where so few points are so far apart that they show no step', () => {
    const scattered = Float64Array.from({ length: 32 }, (_, i) => START + Math.round(100.37 * 2.6 ** i));
    expect(planGrid(scattered)).toBeUndefined();
    // Seven neighbours among strangers are too few.
    const seven = Float64Array.of(...every(1000, 7, 300), ...scattered.subarray(7).map((time) => time + 1e7));
    expect(planGrid(seven)).toBeUndefined();
  });

  it.each<[string, GridPlan]>([
    ['seconds, nearest', { frequency: '1s', anchor: START + 13, nearest: true }],
    ['steps with their times', { frequency: '15min', anchor: START, nearest: false }],
    ['an odd step', { frequency: '7ms', anchor: START, nearest: true }],
    ['days', { frequency: 'D', anchor: START, nearest: true }],
    ['months at their ends', { frequency: 'M', anchor: START, day: 31, nearest: true }],
    ['quarters', { frequency: 'Q', anchor: START, day: 31, nearest: true }],
    ['business days', { frequency: 'B', anchor: Date.UTC(2026, 0, 30), nearest: true }],
  ])('gives every millisecond to one step (%s)', (_, plan) => {
    const grid = new SeriesGrid(plan);
    let previous = Number.NEGATIVE_INFINITY;
    for (let step = -40; step < 400; step++) {
      const start = grid.startOf(step);
      expect(start).toBeGreaterThan(previous);
      expect(grid.step(start)).toBe(step);
      expect(grid.step(start - 1)).toBe(step - 1);
      expect(grid.step(grid.time(step))).toBe(step);
      previous = start;
    }
  });
});
