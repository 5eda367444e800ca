/** `npm start` by the compiled path: a fresh data folder, a forecast, and an end that leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from '@jest/globals';
import { freePort } from '../../src/platform/embedded/guardian.js';
import { weekly } from '../http/app.js';
import { processesNaming, scratch, until } from './support/processes.js';

it('starts, answers, and ends with all that it has started when npm is told to end', async () => {
  const dir = scratch();
  const port = await freePort();
  const npm = spawn('npm', ['start'], {
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      PORT: String(port),
      ADDER_DATA_DIR: dir.path,
      ADDER_MODEL: 'theta',
      ADDER_QUEUE: 'postgres',
      ADDER_LOG_FORMAT: 'json',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(npm, 'exit');
  let log = '';
  npm.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    log += chunk;
  });
  try {
    const address = `http://127.0.0.1:${port}`;
    await until(
      async () => npm.exitCode !== null || (await fetch(`${address}/health/ready`).catch(() => undefined))?.ok,
      240_000,
      'readiness',
    );
    const body = JSON.stringify({ series: Array(300).fill({ values: weekly(60), season: 7 }), horizon: 20 });
    const ask = async () =>
      (
        await fetch(`${address}/v1/forecasts`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body,
        })
      ).status;
    expect([await ask(), log.includes('"level":50')]).toEqual([200, false]);
    // These are under way when the signal comes, or already answered.
    const running = Array.from({ length: 8 }, ask);
    await new Promise((done) => setTimeout(done, 500));
    npm.kill('SIGTERM');
    expect(await Promise.all(running)).toEqual(Array(8).fill(200));
    await exited;
    await until(() => processesNaming(dir.path).length === 0, 60_000, 'the end of all processes');
    await until(() => /"name":"start","msg":"stopped"/.test(log), 10_000, 'the last line of the log');
    expect(log).not.toContain('"level":50');
  } finally {
    npm.kill('SIGKILL');
    dir.remove();
  }
}, 400_000);
