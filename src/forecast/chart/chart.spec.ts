import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Fan, shownHistory, valueRange } from './fan.js';
import { escapeXml, svgChart } from './svg.js';
import { terminalAbilities, terminalChart } from './terminal.js';
import { formatValue, positionOf, timeTicks, valueTicks } from './ticks.js';

const DAY = 86_400_000;
const START = Date.UTC(2024, 0, 1);

function fan(change: Partial<Fan> = {}, past = 60, horizon = 12): Fan {
  const wave = (t: number) => 100 + 20 * Math.sin(t / 3);
  const of = (from: number, n: number, value: (t: number) => number) =>
    Float64Array.from({ length: n }, (_, i) => value(from + i));
  const spread = (k: number) => (low: number) => of(past, horizon, (t) => wave(t) + low * k * Math.sqrt(t - past + 1));
  return {
    title: 'a series',
    calendar: true,
    historyTimes: of(0, past, (t) => START + t * DAY),
    history: of(0, past, wave),
    futureTimes: of(past, horizon, (t) => START + t * DAY),
    median: of(past, horizon, wave),
    intervals: [
      { percent: 95, low: spread(6)(-1), high: spread(6)(1) },
      { percent: 80, low: spread(3)(-1), high: spread(3)(1) },
    ],
    ...change,
  };
}

describe('valueTicks', () => {
  it('are round, inside the range, and about as many as asked for', () => {
    const range = fc.tuple(
      fc.double({ min: -1e9, max: 1e9, noNaN: true }),
      fc.double({ min: 1e-6, max: 1e9, noNaN: true }),
    );
    fc.assert(
      fc.property(range, fc.integer({ min: 2, max: 10 }), ([low, width], count) => {
        fc.pre(low + width > low && width > Math.abs(low) * 1e-9);
        const ticks = valueTicks(low, low + width, count);
        expect(ticks.length).toBeLessThanOrEqual(count + 1);
        expect(ticks.length).toBeGreaterThanOrEqual(Math.floor(count / 2.5));
        for (const { value } of ticks)
          expect(value >= low - width * 1e-6 && value <= low + width * (1 + 1e-6)).toBe(true);
      }),
    );
  });

  it('are labelled alike and apart', () => {
    expect(valueTicks(0, 1, 5).map((t) => t.label)).toEqual(['0', '0.2', '0.4', '0.6', '0.8', '1.0']);
    expect(valueTicks(-3, 3, 3).map((t) => t.label)).toEqual(['−2', '0', '2']);
    expect(valueTicks(0, 2.5e6, 5).map((t) => t.label)).toEqual(['0', '500k', '1,000k', '1,500k', '2,000k', '2,500k']);
    expect(valueTicks(1e-9, 3e-9, 3).map((t) => t.label)).toEqual(['1e-9', '2e-9', '3e-9']);
    expect(formatValue(1234567, 1, 5e7)).toBe('1.234567M');
  });
});

describe('timeTicks', () => {
  const at = (text: string) => Date.parse(`${text}Z`);
  const labels = (from: string, to: string, count: number) =>
    timeTicks(at(from), at(to), count).map(({ label, parent }) => (parent ? `${label}|${parent}` : label));

  it.each([
    [
      '2015-06-01T00:00',
      '2024-06-01T00:00',
      10,
      ['2016', '2017', '2018', '2019', '2020', '2021', '2022', '2023', '2024'],
    ],
    ['2023-09-15T00:00', '2024-04-15T00:00', 8, ['Oct|2023', 'Nov', 'Dec', 'Jan|2024', 'Feb', 'Mar', 'Apr']],
    ['2023-01-01T00:00', '2024-12-31T00:00', 8, ['Q1|2023', 'Q2', 'Q3', 'Q4', 'Q1|2024', 'Q2', 'Q3', 'Q4']],
    ['2024-01-30T00:00', '2024-02-02T12:00', 5, ['30|Jan 2024', '31', '1|Feb 2024', '2']],
    ['2024-01-01T00:00', '2024-02-01T00:00', 5, ['1 Jan|2024', '8 Jan', '15 Jan', '22 Jan', '29 Jan']],
    ['2024-03-01T21:00', '2024-03-02T04:00', 5, ['22:00|1 Mar 2024', '00:00|2 Mar 2024', '02:00', '04:00']],
    ['2024-03-01T21:00:01', '2024-03-01T21:00:12', 4, ['21:00:05|1 Mar 2024', '21:00:10']],
  ])('%s to %s', (from, to, count, expected) => {
    expect(labels(from, to, count)).toEqual(expected);
  });

  it('never gives more than asked for, nor outside', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e9 }),
        fc.double({ min: 0.01, max: 3e9, noNaN: true }),
        fc.integer({ min: 2, max: 12 }),
        (from, span, count) => {
          const low = from * 1000;
          const high = low + span * 1000;
          const ticks = timeTicks(low, high, count);
          expect(ticks.length).toBeLessThanOrEqual(count + 2);
          for (const { time } of ticks) expect(time >= low && time <= high).toBe(true);
        },
      ),
    );
  });

  it('finds positions between steps', () => {
    const times = Float64Array.of(0, 10, 30);
    expect([0, 5, 10, 20, 30, 31].map((t) => positionOf(times, t))).toEqual([0, 0.5, 1, 1.5, 2, undefined]);
  });
});

describe('terminalChart', () => {
  const options = { width: 80, height: 12, unicode: true, color: false };

  it('keeps to its width and height', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 40, max: 140 }),
        fc.integer({ min: 4, max: 30 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 90 }),
        (width, height, unicode, past, horizon) => {
          const lines = terminalChart(fan({}, past, horizon), { ...options, width, height, unicode })
            .trimEnd()
            .split('\n');
          expect(Math.max(...lines.slice(1, -1).map((line) => Array.from(line).length))).toBeLessThanOrEqual(width);
          expect(lines.length).toBeLessThanOrEqual(height + 5);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('is pure ASCII where that is all there is', () => {
    const text = terminalChart(fan({ actual: Float64Array.from({ length: 12 }, () => -90) }), {
      ...options,
      unicode: false,
    });
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    for (const sign of ['*', 'o', '.', ':', 'x']) expect(text).toContain(sign);
  });

  it('writes escape sequences only in colour', () => {
    expect(terminalChart(fan(), options)).not.toContain('\u001b');
    const coloured = terminalChart(fan(), { ...options, color: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours start with ESC
    expect(coloured.replaceAll(/\u001b\[[0-9;]*m/g, '')).toBe(terminalChart(fan(), options));
  });

  it('draws higher values higher', () => {
    const rising = fan({
      history: Float64Array.from({ length: 60 }, (_, i) => i),
      median: Float64Array.from({ length: 12 }, (_, i) => 60 + i),
      intervals: [],
    });
    const lines = terminalChart(rising, { ...options, unicode: false })
      .split('\n')
      .slice(1, 13);
    expect(lines[0]!.trimEnd().endsWith('o')).toBe(true);
    expect(lines[11]).toMatch(/^\s*\d*\s*[|+]\*/);
  });

  it('survives missing values, constants and single steps', () => {
    const missing = fan();
    missing.history.fill(Number.NaN, 10, 30);
    missing.history[59] = Number.NaN;
    const constant = fan({
      history: new Float64Array(60).fill(5),
      median: new Float64Array(12).fill(5),
      intervals: [],
    });
    for (const one of [missing, constant, fan({}, 1, 1)])
      expect(terminalChart(one, options)).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('terminalAbilities', () => {
  it('reads locale, width and colour wishes', () => {
    expect(terminalAbilities({ isTTY: true, columns: 100 }, { LANG: 'en_GB.UTF-8' })).toEqual({
      width: 100,
      unicode: true,
      color: true,
    });
    expect(
      terminalAbilities({ isTTY: true, columns: 500 }, { LC_ALL: 'C', LANG: 'en_GB.UTF-8', NO_COLOR: '1' }),
    ).toEqual({ width: 140, unicode: false, color: false });
    expect(terminalAbilities({}, {})).toEqual({ width: 80, unicode: true, color: false });
    expect(terminalAbilities({ isTTY: true }, { TERM: 'dumb', COLUMNS: '20' })).toEqual({
      width: 40,
      unicode: false,
      color: false,
    });
  });
});

/** Checks that tags nest and attributes are quoted; enough to catch what hand-written XML gets wrong. */
function expectWellFormed(xml: string): void {
  const open: string[] = [];
  const rest = xml
    .replaceAll(/<style>[^<]*<\/style>/g, '')
    .replaceAll(/<(\/?)([a-z]+)((?:\s[\w-]+(?::\w+)?="[^"<]*")*)\s*(\/?)>/g, (_, close, name, _attributes, self) => {
      if (close) expect(open.pop()).toBe(name);
      else if (!self) open.push(name);
      return '';
    });
  expect(open).toEqual([]);
  expect(rest).not.toMatch(/[<>]/);
  expect(rest).not.toMatch(/&(?!amp;|lt;|gt;|quot;|apos;)/);
}

describe('svgChart', () => {
  it('is well-formed for any title', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (title) => {
        expectWellFormed(svgChart([fan({ title })], { caption: title }));
      }),
      { numRuns: 50 },
    );
    expect(escapeXml('a<b>&"\u0000\ud800')).toBe('a&lt;b&gt;&amp;&quot;\ufffd\ufffd');
  });

  it('draws history, nested bands, median, held-out values and a legend', () => {
    const svg = svgChart([fan({ actual: new Float64Array(12).fill(100) })]);
    expect(svg.match(/class="band"/g)).toHaveLength(2 + 1 + 2);
    expect(svg.match(/<circle class="actual"/g)).toHaveLength(13);
    for (const label of ['history', 'median forecast', '80 % interval', '95 % interval', 'held out'])
      expect(svg).toContain(`>${label}<`);
    expect(svg).toContain('prefers-color-scheme:dark');
  });

  it('draws small multiples, and says how many it left out', () => {
    const svg = svgChart(
      Array.from({ length: 30 }, (_, i) => fan({ title: `series ${i}` })),
      { maxPanels: 5 },
    );
    expectWellFormed(svg);
    expect(svg.match(/class="panel-title"/g)).toHaveLength(5);
    expect(svg).toContain('25 more series not drawn');
  });

  it('survives missing values, constants, single steps and huge histories', () => {
    const missing = fan();
    missing.history.fill(Number.NaN, 10, 30);
    missing.history[20] = 100;
    const long = fan({}, 20_000, 12);
    long.history.fill(Number.NaN, 9000, 9500);
    const constant = fan({
      history: new Float64Array(60).fill(5),
      median: new Float64Array(12).fill(5),
      intervals: [],
    });
    const numbers = fan({
      calendar: false,
      historyTimes: Float64Array.from({ length: 60 }, (_, i) => i),
      futureTimes: Float64Array.from({ length: 12 }, (_, i) => 60 + i),
    });
    for (const one of [missing, constant, fan({}, 1, 1), numbers, long]) {
      const svg = svgChart([one]);
      expectWellFormed(svg);
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      expect(svg.length).toBeLessThan(100_000);
    }
    expect(svgChart([missing])).toContain('class="dot"');
  });
});

describe('fan', () => {
  it('shows a few horizons or seasons of history', () => {
    expect(shownHistory(1000, 12, 12)).toBe(48);
    expect(shownHistory(1000, 48, 24)).toBe(144);
    expect(shownHistory(30, 48, 24)).toBe(30);
    expect(shownHistory(1e6, 9000, 1)).toBe(2000);
  });

  it('spans history, intervals and held-out values', () => {
    const [low, high] = valueRange(fan({ actual: Float64Array.of(-7) }));
    expect(low).toBe(-7);
    expect(high).toBeGreaterThan(120);
  });
});
