import { describe, expect, it } from '@jest/globals';
import { decideAll } from './events.js';
import { plotAudio } from './plot.js';

const samples = Float32Array.from(
  { length: 48000 },
  (_, i) => (i > 16000 && i < 32000 ? 0.4 : 0.002) * Math.sin(i * 0.3),
);
const speech = Float32Array.from({ length: 300 }, (_, t) => (t > 100 && t < 200 ? 0.95 : 0.03));
const end200 = Float32Array.from({ length: 300 }, (_, t) => (t > 180 && t < 200 ? 0.9 : 0.1));
const events = decideAll(speech, { 200: end200 });

/** Every tag closed, in order: enough of XML for text that we write ourselves. */
function wellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (self) continue;
    if (!close) open.push(name);
    else if (open.pop() !== name) return false;
  }
  return open.length === 0;
}

describe('plot', () => {
  it('draws waveform, tracks, speech and predictions where they lie', () => {
    const svg = plotAudio(samples, [{ name: 'speech', values: speech }], events, { width: 1072, title: 'a & <b>' });
    expect(wellFormed(svg)).toBe(true);
    expect(svg).toContain('a &#38; &#60;b&#62;');
    // 1000 pixels for 3 s from 54: speech from 1.01 to 2.00 s.
    const [start, stop] = [1.01, 2].map((s) => 54 + (s / 3) * 1000);
    const shade = /<rect x="([\d.]+)" y="\d+" width="([\d.]+)" height="\d+" fill="#dff0ea"/.exec(svg)!;
    expect(Number(shade[1])).toBeCloseTo(start, 0);
    expect(Number(shade[1]) + Number(shade[2])).toBeCloseTo(stop, 0);
    // Said at 1.82 s for 2.02 s.
    const bar = /<path d="M([\d.]+) [\d.]+H([\d.]+)" stroke="#b3471d"/.exec(svg)!;
    expect(Number(bar[1])).toBeCloseTo(54 + (1.82 / 3) * 1000, 0);
    expect(Number(bar[2])).toBeCloseTo(54 + (2.02 / 3) * 1000, 0);
  });

  it('stays well-formed and finite for odd input', () => {
    const odd = [
      plotAudio([], [], []),
      plotAudio(new Float32Array(100), [{ name: '\u0000"', values: [Number.NaN, 2, -1] }], []),
      plotAudio(samples, [{ name: 'x', values: speech }], events, { from: 1.5, to: 1.6 }),
      plotAudio(new Float32Array(16000 * 600), [{ name: 'long', values: new Float32Array(60000) }], []),
    ];
    for (const svg of odd) {
      expect(wellFormed(svg)).toBe(true);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
      expect(svg.length).toBeLessThan(120_000);
    }
  });
});
