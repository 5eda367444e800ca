import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { AdderError } from '../errors.js';
import { isAlive, sleep } from './guardian.js';

/**
 * Holds `path` while `work` runs, so that two processes of one data folder do not start its servers at the same time.
 * A lock whose process has died is taken over.
 */
export async function withLock<T>(path: string, work: () => Promise<T>, timeoutMs = 90_000): Promise<T> {
  for (const end = Date.now() + timeoutMs; ; await sleep(50)) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx', mode: 0o600 });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readNumber(path);
    if (holder !== undefined && !isAlive(holder)) {
      // Renaming has one winner; whoever finds another process' fresh lock in its hand puts it back.
      const mine = `${path}.${process.pid}`;
      try {
        renameSync(path, mine);
        if (readNumber(mine) === holder) rmSync(mine);
        else renameSync(mine, path);
      } catch {
        // Another process was faster.
      }
    } else if (Date.now() > end) {
      throw new AdderError({
        code: 'DATA_DIR_BUSY',
        message: `process ${holder ?? 'unknown'} has been starting the services of this data folder for ${timeoutMs / 1000} s`,
        where: { file: path },
        fix: 'wait for it, stop it, or choose another ADDER_DATA_DIR',
      });
    }
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** The process that answers for a running server, from the note that it left; undefined when it is gone. */
export function livingOwner(note: string): number | undefined {
  const pid = readNumber(note);
  return pid !== undefined && isAlive(pid) ? pid : undefined;
}

/** Notes that this process answers for the server. */
export function becomeOwner(note: string): void {
  writeFileSync(note, String(process.pid), { mode: 0o600 });
}

function readNumber(path: string): number | undefined {
  try {
    const value = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(value) && value > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}
