/** Installs and loads the systems we are measured beside. They have a lock file of their own and never touch ours. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AdderError } from '../../../src/platform/errors.js';

/** The repository's root, from the source and from the build alike. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'bench', 'audio', 'peers', 'package-lock.json'))) {
    const parent = dirname(folder);
    if (parent === folder) return process.cwd();
    folder = parent;
  }
  return folder;
}

/**
 * Folder with the peers installed: ADDER_PEERS_DIR, or `.data/bench-peers`, where they are installed on first use.
 * Install scripts stay off: they would download GPU builds that are not needed.
 */
export function ensurePeers(): string {
  const source = join(repositoryRoot(), 'bench', 'audio', 'peers');
  const folder = process.env.ADDER_PEERS_DIR ?? join(repositoryRoot(), '.data', 'bench-peers');
  const same = (name: string) =>
    existsSync(join(folder, name)) &&
    readFileSync(join(folder, name), 'utf8') === readFileSync(join(source, name), 'utf8');
  if (process.env.ADDER_PEERS_DIR || (same('package-lock.json') && existsSync(join(folder, 'node_modules'))))
    return folder;
  mkdirSync(folder, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(source, name), join(folder, name));
  process.stderr.write('bench audio: installing the peers (npm ci --ignore-scripts) …\n');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const arguments_ = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(npm, arguments_, {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (result.status !== 0) {
    throw new AdderError({
      code: 'NO_PEERS',
      message: 'the peers of the audio benchmark could not be installed',
      fix: 'see the message of npm above, or set ADDER_PEERS_DIR to a folder that has them',
    });
  }
  return folder;
}

/** Import a package, or a module inside one, from the peers' folder. */
export async function importPeer<T>(specifier: string): Promise<T> {
  const require = createRequire(join(ensurePeers(), 'package.json'));
  return (await import(pathToFileURL(require.resolve(specifier)).href)) as T;
}

/** Path of a file inside a peer package. */
export function peerFile(...parts: string[]): string {
  return join(ensurePeers(), 'node_modules', ...parts);
}
