/**
 * npm hands SIGTERM to the shell in which a script runs, and most shells end without passing it on: what the script has
 * started would run on with nobody to stop it.
 */
const EVERY_MS = 200;

/** Calls `stop` once when npm has started this process and the shell between them is gone. */
export function onOrphaned(stop) {
  if (!process.env.npm_lifecycle_event || process.platform === 'win32') return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    stop();
  }, EVERY_MS);
  timer.unref();
}
