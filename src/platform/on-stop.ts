import type { Logger } from 'pino';

/** Added to the time for running work: closing connections and servers. */
const CLOSING_MS = 15_000;

/**
 * Stops once on SIGTERM or SIGINT, or when the process that started this one is gone, and ends the process in any case: a
 * second signal, or a stop that hangs, ends it at once.
 */
export function onStop(log: Logger, graceMs: number, stop: () => Promise<void>): void {
  let stopping = false;
  // Whoever started us held the servers that we work on; there is no such event where nobody holds a channel to us.
  process.once('disconnect', () => {
    if (!stopping) process.kill(process.pid, 'SIGTERM');
  });
  // Ctrl-C reaches the whole group; where a supervisor holds a channel to us, it decides who ends when.
  const supervised = process.connected === true;
  if (supervised) process.on('SIGINT', () => {});
  for (const signal of supervised ? (['SIGTERM'] as const) : (['SIGTERM', 'SIGINT'] as const)) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      log.info({ signal }, 'stopping');
      setTimeout(() => {
        log.error('stopping took too long');
        process.exit(1);
      }, graceMs + CLOSING_MS).unref();
      stop().then(
        () => {
          log.info('stopped');
          process.exit(0);
        },
        (error: Error) => {
          log.error({ err: error }, 'stopping failed');
          process.exit(1);
        },
      );
    });
  }
}
