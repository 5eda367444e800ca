/**
 * Brings a fresh clone to where `node dist/src/cli.js` runs: installs node_modules when they do not match
 * package-lock.json, and builds dist/ when a source is newer than the last build. Does nothing, in a few
 * milliseconds, when all is current. Progress goes to stderr, so that stdout stays the command's own.
 *
 *   node scripts/setup.mjs [--build-only] [--force]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensureClient } from '../prisma/generate.mjs';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const at = (...parts) => join(root, ...parts);
const say = (text) => process.stderr.write(`adder: ${text}\n`);

class SetupError extends Error {}

/** Installs from the lock file unless the stamp left by the last install (or npm's own record) matches it. */
export function ensureInstalled() {
  const lock = readFileSync(at('package-lock.json'));
  const wanted = createHash('sha256').update(lock).update(process.version.split('.')[0]).digest('hex');
  const stamp = at('node_modules', '.adder-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  if (!installedMatches(JSON.parse(lock.toString('utf8')))) {
    say('installing packages (npm ci) …');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const result = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    });
    if (result.status !== 0) {
      throw new SetupError(`npm ci failed${result.error ? `: ${result.error.message}` : ''}; see its message above`);
    }
  }
  writeFileSync(stamp, wanted);
}

/** Whether npm's own record of what it installed (node_modules/.package-lock.json) agrees with the lock file. */
function installedMatches(lock) {
  const hidden = at('node_modules', '.package-lock.json');
  if (!existsSync(hidden)) return false;
  try {
    const installed = JSON.parse(readFileSync(hidden, 'utf8')).packages;
    return Object.entries(lock.packages).every(([path, entry]) => {
      if (path === '' || entry.link) return true;
      const found = installed[path];
      // An optional package of another platform is absent and may stay so.
      if (!found) return entry.optional === true || entry.devOptional === true;
      return found.version === entry.version;
    });
  } catch {
    return false;
  }
}

/** Every file under `folder` (relative to the root) that `keep` accepts. */
function* filesUnder(folder, keep) {
  if (!existsSync(at(folder))) return;
  for (const entry of readdirSync(at(folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules' && entry.name !== 'results') yield* filesUnder(path, keep);
    } else if (keep(entry.name)) yield path;
  }
}

const isSource = (name) => /\.(ts|wgsl)$/.test(name) && !name.endsWith('.spec.ts') && !name.endsWith('.d.ts');

/** Names, sizes and times of the inputs of the build: equal fingerprints mean that nothing has to be done. */
function fingerprint() {
  const hash = createHash('sha256');
  const inputs = [
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/setup.mjs',
    'scripts/build-wasm.mjs',
  ];
  for (const path of [
    ...inputs.filter((p) => existsSync(at(p))),
    ...filesUnder('src', isSource),
    ...filesUnder('bench', isSource),
  ]) {
    const { size, mtimeMs } = statSync(at(path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Builds dist/ unless it is current. */
export function ensureBuilt(force = false) {
  const current = () =>
    existsSync(at('dist', '.stamp')) && readFileSync(at('dist', '.stamp'), 'utf8') === fingerprint();
  if (!force && current()) return;
  const unlock = lock();
  try {
    // Another build may have finished while this one waited for it.
    if (force || !current()) build();
  } finally {
    unlock();
  }
}

/** Keeps two builds of one checkout from writing over each other: waits for the other one, unless it has died. */
function lock() {
  const file = at('dist', '.lock');
  mkdirSync(at('dist'), { recursive: true });
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    let owner = 0;
    try {
      owner = Number(readFileSync(file, 'utf8'));
      process.kill(owner, 0);
      if (!waited) say(`waiting for the build of process ${owner} …`);
      Atomics.wait(pause, 0, 0, 200);
    } catch (error) {
      // ESRCH: its owner is gone. ENOENT: it was unlocked in between. EPERM: it is another user's, and alive.
      if (error.code === 'ESRCH' || owner === 0) rmSync(file, { force: true });
      else if (error.code === 'EPERM') Atomics.wait(pause, 0, 0, 200);
      else if (error.code !== 'ENOENT') throw error;
    }
  }
}

/**
 * Compiles TypeScript to dist/, builds the WebAssembly kernels and copies the WGSL files beside the code that reads them.
 * Type errors are printed; they stop the build only where CI is set, because the emitted JavaScript is complete either way.
 */
function build() {
  const stamp = at('dist', '.stamp');
  const now = fingerprint();
  const started = Date.now();
  say('building …');
  rmSync(stamp, { force: true });
  // Without the output of an earlier incremental build, tsc would take its record as proof that nothing is to be written.
  if (!existsSync(at('dist', 'src'))) rmSync(at('dist', '.tsbuildinfo'), { force: true });
  if (existsSync(at('scripts', 'build-wasm.mjs')))
    node('scripts/build-wasm.mjs', [], 'building the WebAssembly kernels failed');
  const tsc = spawnSync(
    process.execPath,
    [
      at('node_modules/typescript/bin/tsc'),
      '-p',
      'tsconfig.build.json',
      '--noEmitOnError',
      'false',
      '--pretty',
      'false',
    ],
    {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    },
  );
  if (tsc.status !== 0) {
    const lines = tsc.stdout.split('\n').filter(Boolean);
    process.stderr.write(
      `${lines.slice(0, 40).join('\n')}\n${lines.length > 40 ? `… and ${lines.length - 40} more lines\n` : ''}`,
    );
    if (process.env.CI === 'true') throw new SetupError('TypeScript reported the errors above');
    if (!existsSync(at('dist', 'src', 'cli.js'))) throw new SetupError('TypeScript wrote no output');
  }
  for (const path of filesUnder('src', (name) => /\.(wgsl|wasm)$/.test(name))) {
    const target = at('dist', path);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(at(path), target);
  }
  mkdirSync(at('dist'), { recursive: true });
  // Inputs that changed while the build ran keep their new fingerprint, so the next call builds again.
  writeFileSync(stamp, now);
  say(`built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function node(script, args, failure) {
  const result = spawnSync(process.execPath, [at(script), ...args], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) throw new SetupError(`${failure} (${relative(root, at(script))})`);
}

/** The whole setup; prints one line and ends the process when a step fails. */
export function setup({ buildOnly = false, build = true, force = false } = {}) {
  try {
    const major = Number(process.versions.node.split('.')[0]);
    if (major < 20) throw new SetupError(`Node ${process.versions.node} is too old; fix: install Node 20.19 or newer`);
    if (!buildOnly) ensureInstalled();
    if (build) {
      ensureClient();
      ensureBuilt(force);
    }
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`error [SETUP] ${error.message}\n`);
    process.exit(2);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const flags = process.argv.slice(2);
  setup({ buildOnly: flags.includes('--build-only'), force: flags.includes('--force') });
}
