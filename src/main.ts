#!/usr/bin/env node
/** The API process: HTTP in front of the store, the queue and the forecaster. */
import { ApiProcess } from './http/api-process.js';
import { loadConfig } from './platform/config.js';
import { startServices } from './platform/embedded/services.js';
import { toAdderError } from './platform/errors.js';
import { createLogger } from './platform/logger.js';
import { onStop } from './platform/on-stop.js';

try {
  const config = loadConfig();
  const log = createLogger(config, 'api');
  const services = await startServices(config);
  for (const line of services.description) log.info(line);
  let api: ApiProcess;
  try {
    api = await ApiProcess.start(config, services, log);
  } catch (error) {
    await services.close();
    throw error;
  }
  log.info({ address: api.address }, `listening on ${api.address}`);
  onStop(log, config.server.shutdownMs, async () => {
    await api.stop();
    await services.close();
  });
  // For whoever started us and asked for a free port.
  process.stdout.write(`${JSON.stringify({ address: api.address, pid: process.pid })}\n`);
} catch (thrown) {
  const error = toAdderError(thrown);
  process.stderr.write(`${error.toLine()}\n`);
  if (process.env.ADDER_DEBUG) process.stderr.write(`${(error.cause as Error)?.stack ?? error.stack}\n`);
  process.exit(2);
}
