import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { loadForecaster } from '../forecast/model/load.js';
import { lossCurve, readLog } from '../forecast/training/loss-curve.js';
import { run } from './train.js';

const config = {
  name: 'tiny',
  seed: 5,
  model: {
    version: 2,
    architecture: 'mamba2-patch-encoder',
    patch: 8,
    dModel: 8,
    layers: 1,
    expand: 2,
    headDim: 8,
    dState: 4,
    convWidth: 4,
    ff: 8,
    hidden: 12,
  },
  batch: {
    synthetic: 0.5,
    parts: [{ name: 'only', windows: 6, length: 32, full: 0.5, shortest: 12, weighting: 'long', shortestSeries: 40 }],
  },
  optimiser: { learningRate: 0.01, lossScale: 1 },
  schedule: { steps: 8, warmup: 2, decay: 0.5 },
  precision: 'f32',
  validation: { every: 4, windows: 4 },
};

let folder: string;
let file: string;
let printed: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'adder-train-command-'));
  mkdirSync(join(folder, 'data', 'train'), { recursive: true });
  const lines = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ target: Array.from({ length: 90 }, (_, t) => Math.sin((t + i) / 3)), freq: 'H', seasonality: 19 }),
  );
  writeFileSync(join(folder, 'data', 'train', 'sines.ndjson.gz'), gzipSync(lines.join('\n')));
  file = join(folder, 'tiny.json');
  writeFileSync(file, JSON.stringify(config));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  printed = '';
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    printed += text;
    return true;
  });
});
afterEach(() => {
  jest.restoreAllMocks();
});

const data = () => ['--data', join(folder, 'data'), '--backend', 'reference', '--workers', '0'];

describe('adder train', () => {
  it('trains, stops, resumes, and leaves a model that forecasts, a log and a picture', async () => {
    const whole = join(folder, 'whole');
    expect(await run([file, ...data(), '--out', whole])).toBe(0);
    expect(printed).toMatch(/tiny: [\d,]+ parameters, 40 series/);
    expect(printed).toMatch(/step 4 held out: only \d/);
    expect(printed).toMatch(/finished 8 steps in \d+ s, 0 skipped/);
    expect(readdirSync(join(whole, 'checkpoints'))).toEqual(['step-8']);

    const halves = join(folder, 'halves');
    const once = jest.spyOn(process, 'on');
    const stopping = run([file, ...data(), '--out', halves]);
    const handler = await new Promise<() => void>((resolve) => {
      const look = () => {
        const call = once.mock.calls.find(([event]) => event === 'SIGTERM');
        if (call) resolve(call[1] as () => void);
        else setTimeout(look, 1);
      };
      look();
    });
    handler();
    expect(await stopping).toBe(0);
    expect(printed).toMatch(/stopped at step \d+ of 8; continue with adder train/);
    const [stopped] = readdirSync(join(halves, 'checkpoints'));
    expect(Number(stopped!.slice(5))).toBeLessThan(8);
    expect(await run([file, ...data(), '--resume', halves])).toBe(0);
    const weights = (out: string) => readFileSync(join(out, 'model', 'model.safetensors'));
    expect(weights(halves).equals(weights(whole))).toBe(true);

    const forecaster = await loadForecaster({ model: join(whole, 'model'), backend: 'reference' });
    const [forecast] = await forecaster.forecast([
      {
        history: Float64Array.from({ length: 30 }, (_, t) => 5 + Math.sin(t)),
        horizon: 10,
        season: 6,
        frequency: 'H',
        quantiles: [0.5],
      },
    ]);
    expect(forecast!.quantiles[0]!.every((v) => Math.abs(v - 5) < 5)).toBe(true);
    await forecaster.close();

    const log = readLog(join(halves, 'log.jsonl'));
    expect(log.filter((line) => line.kind === 'start').length).toBe(2);
    expect(log.filter((line) => line.kind === 'validation').map((line) => line.step)).toEqual([4, 8]);
    const svg = readFileSync(join(halves, 'loss.svg'), 'utf8');
    expect(svg).toMatch(/^<svg .*<\/svg>\n$/s);
    expect(svg).toContain('only, held out');
    const card = JSON.parse(readFileSync(join(whole, 'model', 'config.json'), 'utf8'));
    expect(card.training).toMatchObject({ finished: true, steps: 8, series: 40, datasets: ['sines'] });
  });

  it.each([
    [[], 'BAD_ARGUMENT'],
    [['FILE', '--speed', '3'], 'UNKNOWN_OPTION'],
    [['FILE', '--steps', 'many'], 'BAD_OPTION'],
    [['FILE', '--steps', '1', '--data', 'DATA', '--backend', 'reference'], 'SCHEDULE'],
    [['FILE'], 'NO_DATA'],
    [['FILE', '--data', '/nowhere'], 'NO_DATA'],
    [['FILE', '--data', 'DATA', '--backend', 'abacus'], 'BAD_OPTION'],
    [['FILE', '--data', 'DATA', '--backend', 'wasm'], 'NO_TRAINING'],
    [['FILE', '--data', 'DATA', '--resume', '/nowhere'], 'NO_CHECKPOINT'],
    [['BROKEN', '--data', 'DATA'], 'BAD_CONFIG'],
    [['/nowhere.json'], 'ENOENT'],
  ])('refuses %j with %s', async (args, code) => {
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, '{"name": ');
    const places: Record<string, string> = { FILE: file, DATA: join(folder, 'data'), BROKEN: broken };
    const given = (args as string[]).map((arg) => places[arg] ?? arg);
    await expect(run(given)).rejects.toMatchObject({ code });
    expect(existsSync('.data/training/tiny/model')).toBe(false);
  });
});

describe('lossCurve', () => {
  it('survives an empty log and figures that are not finite', () => {
    expect(lossCurve([], 'a < b')).toContain('a &lt; b');
    const line = { kind: 'validation', step: 3, seconds: 1 } as const;
    const svg = lossCurve(
      [
        { ...line, loss: { x: null as unknown as number } },
        { ...line, loss: { x: 0.5 } },
      ],
      't',
    );
    expect(svg).toContain('x, held out 0.5000');
    expect(svg).not.toMatch(/NaN|null/);
  });
});
