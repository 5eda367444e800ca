/**
 * An inference process with faults on demand, chosen by the horizon of a request: 901 stands still, 902 dies, 903 dies once,
 * 904 computes for half a second. The other requests are answered with their history's last value.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ForecastRequest } from '../../../src/forecast/forecaster.js';
import type { Ask, Reply } from '../../../src/jobs/inference/protocol.js';

/** The process' title names a folder that test and process share: `dies-at-start` in it, or the mark of an earlier death. */
const marker = join(process.title, 'died');
const wait = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
if (existsSync(join(process.title, 'dies-at-start'))) {
  process.stderr.write('the driver is broken\n');
  process.exit(3);
}

process.on('message', (ask: Ask) => {
  const { id } = ask;
  let reply: Reply;
  if (ask.kind === 'forecast') {
    const requests = ask.requests as ForecastRequest[];
    const horizons = requests.map(({ horizon }) => horizon);
    if (horizons.includes(901)) wait(60_000);
    if (horizons.includes(902)) process.kill(process.pid, 'SIGKILL');
    if (horizons.includes(903) && !existsSync(marker)) {
      writeFileSync(marker, 'died');
      process.kill(process.pid, 'SIGKILL');
    }
    if (horizons.includes(904)) wait(500);
    reply = {
      id,
      kind: 'forecast',
      info: { model: ask.model, backend: 'test' },
      answers: requests.map(({ history, quantiles }) => ({
        result: { quantiles: quantiles.map(() => Float64Array.of(history.at(-1)!, requests.length)) },
      })),
    };
  } else if (ask.kind === 'describe') reply = { id, kind: 'describe', info: { model: ask.model, backend: 'test' } };
  else reply = { id, kind: ask.kind === 'self-test' ? 'self-test' : 'ping' };
  process.send?.(reply);
});
process.on('disconnect', () => process.exit(0));
