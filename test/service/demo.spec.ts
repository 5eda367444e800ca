import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from '@jest/globals';
import { processesNaming, scratch } from './support/processes.js';

const dir = scratch();
afterAll(() => dir.remove());

it('the demo sends a real series through REST, queue, engine and database, and leaves nothing running', async () => {
  const loader = join(process.cwd(), 'test/service/support/typescript.mjs');
  const plot = join(dir.path, 'demo.svg');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', loader, 'src/cli.ts', 'demo', '--model', 'theta', '--plot', plot],
    { env: { ...process.env, NODE_OPTIONS: '', ADDER_DATA_DIR: dir.path, ADDER_BACKEND: 'wasm' } },
  );
  expect(stdout).toMatch(/^US housing starts.*model theta on javascript/);
  expect(stdout).toMatch(/2022-09-01 .* 124\.4\n/);
  expect(stdout).toMatch(/held out: MASE \d\.\d+, seasonal naive \d\.\d+; \d+ of 12 in the 80 % interval/);
  expect(readFileSync(plot, 'utf8')).toContain('held out');
  expect(existsSync(join(dir.path, 'demo'))).toBe(true);
  expect(processesNaming(dir.path)).toEqual([]);
});
