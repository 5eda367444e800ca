/**
 * `npm start`, `npm run start:api`, `npm run start:worker`, `npm run start:live` on any clone: sets up what is missing, then runs that part of the
 * compiled service, with signals and exit code passed through.
 *
 *   node scripts/start.mjs [start|main|worker|live]
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { onOrphaned } from './orphan.mjs';
import { root, setup } from './setup.mjs';

const part = process.argv[2] ?? 'start';
if (!['start', 'main', 'worker', 'live'].includes(part)) {
  process.stderr.write(
    `error [SETUP] there is no part ${JSON.stringify(part)}; fix: use start, main, worker or live\n`,
  );
  process.exit(2);
}
setup();
const child = spawn(process.execPath, ['--enable-source-maps', join(root, 'dist', 'src', `${part}.js`)], {
  stdio: 'inherit',
});
// Ctrl-C reaches the whole group by itself; passing it on would count as a second one.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill('SIGTERM'));
onOrphaned(() => child.kill('SIGTERM'));
child.on('error', (error) => {
  process.stderr.write(`error [SETUP] cannot start node: ${error.message}\n`);
  process.exit(2);
});
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : (code ?? 1)));
