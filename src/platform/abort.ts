/** Waits for `work` no longer than until `signal` aborts, and throws its reason then; the work itself goes on. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let leave = () => {};
  const left = new Promise<never>((_, fail) => {
    leave = () => fail(signal.reason);
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave);
  });
  try {
    return await Promise.race([left, work]);
  } finally {
    // Whoever has left does not hear how it ends.
    work.catch(() => {});
    signal.removeEventListener('abort', leave);
  }
}
