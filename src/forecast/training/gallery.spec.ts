import { expect, it } from '@jest/globals';
import { LocalForecaster } from '../baselines/local.js';
import { seasonalNaive } from '../baselines/naive.js';
import { gallery } from './gallery.js';

it('draws a panel for every window, with what came', async () => {
  const values = Float64Array.from({ length: 40 }, (_, t) => Math.sin(t));
  const series = { id: 'wave', frequency: 'D', season: 7, values };
  const window = { series, history: values.subarray(0, 33), actual: values.subarray(33) };
  const svg = await gallery(new LocalForecaster('seasonal-naive', seasonalNaive), [
    { ...window, title: 'first <task>' },
    { ...window, title: 'second' },
  ]);
  expect(svg).toContain('seasonal-naive: the middle series of 2 development tasks');
  expect(svg).toContain('first &lt;task&gt;');
  expect(svg.match(/class="median"/g)!.length).toBeGreaterThanOrEqual(2);
  expect(svg.match(/class="actual"/g)!.length).toBeGreaterThanOrEqual(14);
});
