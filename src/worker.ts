#!/usr/bin/env node
import { WorkerProcess } from './jobs/worker-process.js';
import { loadConfig } from './platform/config.js';
import { startServices } from './platform/embedded/services.js';
import { toAdderError } from './platform/errors.js';
/** The worker process: takes jobs from the queues and forecasts in a child process of its own. */
import { createLogger } from './platform/logger.js';
import { onStop } from './platform/on-stop.js';

try {
  const config = loadConfig();
  const log = createLogger(config, 'worker');
  const services = await startServices(config);
  for (const line of services.description) log.info(line);
  let worker: WorkerProcess;
  try {
    worker = await WorkerProcess.start(config, services, log);
  } catch (error) {
    await services.close();
    throw error;
  }
  log.info(worker.metricsAddress ? { metrics: worker.metricsAddress } : {}, 'taking jobs');
  // For whoever started us and waits for it.
  process.stdout.write(`${JSON.stringify({ working: true, pid: process.pid, metrics: worker.metricsAddress })}\n`);
  const stop = async () => {
    await worker.stop();
    await services.close();
  };
  onStop(log, config.server.shutdownMs, stop);
} catch (thrown) {
  const error = toAdderError(thrown);
  process.stderr.write(`${error.toLine()}\n`);
  if (process.env.ADDER_DEBUG) process.stderr.write(`${(error.cause as Error)?.stack ?? error.stack}\n`);
  process.exit(2);
}
