#!/usr/bin/env node
import { AlertHook } from './live/doors/alerts/alert-hook.js';
import { LiveProcess } from './live/live-process.js';
import { loadConfig } from './platform/config.js';
import { startServices } from './platform/embedded/services.js';
import { AdderError, toAdderError } from './platform/errors.js';
/** The live worker: keeps the states of live series and forecasts with every point. Any number of them share the load. */
import { createLogger } from './platform/logger.js';
import { onStop } from './platform/on-stop.js';

/** A round that takes longer than this hangs in a device; the process ends, and its partitions move to the next. */
const HUNG_MS = 60_000;

async function main(): Promise<void> {
  const config = loadConfig();
  const log = createLogger(config, 'live');
  const services = await startServices(config);
  for (const line of services.description) log.info(line);
  let live: LiveProcess;
  try {
    live = await LiveProcess.start(
      {
        databaseUrl: services.databaseUrl,
        databasePool: config.databasePool,
        connection: services.queue,
        model: config.live.model,
        backend: config.backend,
        leaseMs: config.live.leaseMs,
        hooks: () => [new AlertHook()],
      },
      log,
    );
  } catch (error) {
    await services.close();
    const optional = error instanceof AdderError && error.code === 'NO_MODEL' && config.live.model === 'auto';
    if (!optional) throw error;
    // Everything else works without; ending would end the whole service.
    log.warn('no forecaster is installed: points are stored, live series have no forecasts');
    setInterval(() => {}, 60_000);
    return;
  }
  // For whoever started us and waits for it.
  process.stdout.write(`${JSON.stringify({ live: true, pid: process.pid })}\n`);
  setInterval(() => {
    if (live.owner.silence < HUNG_MS) return;
    log.fatal({ ms: live.owner.silence }, 'a round of forecasts hangs; ending this process');
    process.exit(1);
  }, 5000).unref();
  onStop(log, config.server.shutdownMs, async () => {
    await live.stop();
    await services.close();
  });
  // The supervisor is gone: so are the servers that it held.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
}

try {
  await main();
} catch (thrown) {
  const error = toAdderError(thrown);
  process.stderr.write(`${error.toLine()}\n`);
  if (process.env.ADDER_DEBUG) process.stderr.write(`${(error.cause as Error)?.stack ?? error.stack}\n`);
  process.exit(2);
}
