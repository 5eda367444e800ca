/**
 * `npm run adder -- COMMAND …` on any clone: sets up what is missing, then runs the compiled command line in its own
 * process, with signals and exit code passed through.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { onOrphaned } from './orphan.mjs';
import { root, setup } from './setup.mjs';

setup();
const child = spawn(
  process.execPath,
  ['--enable-source-maps', join(root, 'dist', 'src', 'cli.js'), ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
onOrphaned(() => child.kill('SIGTERM'));
child.on('error', (error) => {
  process.stderr.write(`error [SETUP] cannot start node: ${error.message}\n`);
  process.exit(2);
});
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : (code ?? 1)));
