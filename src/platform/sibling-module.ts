import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A module beside the caller, to be run by another thread or process: compiled where the caller is compiled, TypeScript
 * where the caller runs from source under a loader. Node hands the loader on with `execArgv`; switches of a test runner
 * stay behind.
 */
export function siblingModule(from: string, path: string): { url: URL; file: string; execArgv: string[] } {
  const extension = extname(fileURLToPath(from));
  const url = new URL(path.replace(/\.js$/, extension), from);
  const execArgv = process.execArgv.filter((_, i, all) => all[i] === '--import' || all[i - 1] === '--import');
  return { url, file: fileURLToPath(url), execArgv };
}
