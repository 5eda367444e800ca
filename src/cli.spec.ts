import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { main } from './cli.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'adder-cli-'));
  const date = (i: number) => new Date(Date.UTC(2024, 0, 1) + i * 86_400_000).toISOString().slice(0, 10);
  const rows = Array.from({ length: 42 }, (_, i) => `${date(i)},${10 + [0, 4, 1, 7, 3, 9, 2][i % 7]! + 0.01 * i}`);
  await writeFile(join(dir, 'ok.csv'), `ds,y\n${rows.join('\n')}\n`);
  await writeFile(
    join(dir, 'two.csv'),
    `unique_id,ds,y\n${rows.map((row) => `a,${row}`).join('\n')}\n${rows.map((row) => `<b>,${row}`).join('\n')}\n`,
  );
  await writeFile(join(dir, 'text.csv'), 'ds,y\n2024-01-01,1\n2024-01-02,x\n');
  await writeFile(join(dir, 'specs.json'), '[{"name":"t","pool":["none"],"horizon":2}]');
});
afterAll(() => rm(dir, { recursive: true }));

/** Runs a command line and catches what it prints. */
async function adder(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const catchOut = jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  const catchErr = jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
  try {
    const code = await main(args.map((arg) => arg.replace('DIR', dir)));
    return { code, out, err };
  } finally {
    catchOut.mockRestore();
    catchErr.mockRestore();
  }
}

describe('adder', () => {
  it('lists its commands', async () => {
    for (const args of [[], ['--help'], ['help']]) {
      const { code, out } = await adder(...args);
      expect(code).toBe(0);
      for (const name of ['forecast', 'demo', 'evaluate', 'train', 'verify', 'bench'])
        expect(out).toContain(`\n  ${name} `);
    }
  });

  it.each(['forecast', 'demo', 'evaluate'])('explains %s', async (name) => {
    const { code, out } = await adder(name, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^usage: adder ${name} `));
  });
});

describe('adder forecast', () => {
  it('prints table and chart, and writes CSV and SVG', async () => {
    const { code, out, err } = await adder(
      'forecast',
      'DIR/ok.csv',
      '--h',
      '7',
      '--model',
      'theta',
      '--out',
      'DIR/out.csv',
      '--plot',
      'DIR/out.svg',
    );
    expect(err).toBe(`wrote ${dir}/out.csv\nwrote ${dir}/out.svg\n`);
    expect(code).toBe(0);
    expect(out).toMatch(/^42 steps, frequency D, season 7 \(usual for the frequency\), model theta\n/);
    // The pattern starts anew on the 43rd day: 10.42 with the whole slope, a little less with Theta's half.
    expect(out).toMatch(/\n2024-02-12 +10\.[34]/);
    const csv = await readFile(join(dir, 'out.csv'), 'utf8');
    expect(csv.split('\n')).toHaveLength(9);
    expect(csv).toMatch(/^ds,theta,theta-lo-95,theta-lo-80,theta-hi-80,theta-hi-95\n2024-02-12,10\.[34]/);
    expect(await readFile(join(dir, 'out.svg'), 'utf8')).toMatch(/^<svg /);
  });

  it('forecasts several series, with other levels and a given season', async () => {
    const { code, out } = await adder(
      'forecast',
      'DIR/two.csv',
      '--h',
      '3',
      '--model',
      'seasonal-naive',
      '--level',
      '50',
      '--season',
      '1',
      '--plot',
      'DIR/two.svg',
    );
    expect(code).toBe(0);
    expect(out).toContain('low 50 %');
    expect(out).toContain('<b>: 42 steps, frequency D, no season');
    expect(await readFile(join(dir, 'two.svg'), 'utf8')).toContain('&lt;b&gt;');
  });

  it.each([
    ['no file', ['forecast', '--h', '3'], 'BAD_OPTION'],
    ['no horizon', ['forecast', 'DIR/ok.csv'], 'BAD_OPTION'],
    ['horizon 0', ['forecast', 'DIR/ok.csv', '--h', '0'], 'BAD_OPTION'],
    ['a negative horizon', ['forecast', 'DIR/ok.csv', '--h', '-3'], 'BAD_OPTION'],
    ['half a horizon', ['forecast', 'DIR/ok.csv', '--h', '1.5'], 'BAD_OPTION'],
    ['an unknown option', ['forecast', 'DIR/ok.csv', '--h', '3', '--horizon', '3'], 'UNKNOWN_OPTION'],
    ['an option without value', ['forecast', 'DIR/ok.csv', '--h'], 'BAD_OPTION'],
    ['a second file', ['forecast', 'DIR/ok.csv', 'DIR/two.csv', '--h', '3'], 'BAD_ARGUMENT'],
    ['a bad frequency', ['forecast', 'DIR/ok.csv', '--h', '3', '--freq', 'often'], 'BAD_FREQUENCY'],
    ['a frequency that does not fit', ['forecast', 'DIR/ok.csv', '--h', '3', '--freq', 'W'], 'IRREGULAR_TIMES'],
    ['a bad level', ['forecast', 'DIR/ok.csv', '--h', '3', '--level', '80,x'], 'BAD_LEVEL'],
    ['a bad output name', ['forecast', 'DIR/ok.csv', '--h', '3', '--out', 'x.xls'], 'BAD_OPTION'],
    ['an unknown part of the stack', ['forecast', 'DIR/ok.csv', '--h', '3', '--stack', 'views,mirror'], 'BAD_OPTION'],
    [
      'an output folder that is missing',
      ['forecast', 'DIR/ok.csv', '--h', '3', '--out', 'DIR/no/x.csv'],
      'FILE_NOT_FOUND',
    ],
    ['an unknown model', ['forecast', 'DIR/ok.csv', '--h', '3', '--model', 'thta'], 'UNKNOWN_MODEL'],
    ['a missing file', ['forecast', 'DIR/none.csv', '--h', '3'], 'FILE_NOT_FOUND'],
    ['a folder', ['forecast', 'DIR', '--h', '3'], 'NOT_A_FILE'],
    ['text in y', ['forecast', 'DIR/text.csv', '--h', '3'], 'BAD_NUMBER'],
    ['an unknown command', ['forcast'], 'UNKNOWN_COMMAND'],
    ['a command named like a property', ['constructor'], 'UNKNOWN_COMMAND'],
    ['an evaluation without data', ['evaluate', '--specs', 'DIR/specs.json'], 'BAD_OPTION'],
    [
      'an evaluation of missing data',
      ['evaluate', '--data', 'DIR', '--specs', 'DIR/specs.json', '--model', 'naive'],
      'FILE_NOT_FOUND',
    ],
    [
      'an evaluation without such a task',
      ['evaluate', '--data', 'DIR', '--specs', 'DIR/specs.json', '--task', 'x'],
      'NO_TASKS',
    ],
  ])('refuses %s with one line and exit code 2', async (_, args, code) => {
    const { code: exit, out, err } = await adder(...args);
    expect(exit).toBe(2);
    expect(out).toBe('');
    const lines = err
      .trimEnd()
      .split('\n')
      .filter((line) => !line.startsWith('no published scores'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(new RegExp(`^error \\[${code}\\] .+; fix: .+`));
    expect(err).not.toMatch(/ at .*\.(ts|js):\d+/);
  });
});
