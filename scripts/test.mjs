/**
 * `npm test [-- JEST ARGUMENTS]`: sets up what is missing and runs Jest in native ESM mode. WebGPU tests run on lavapipe
 * (Mesa's software Vulkan) where it is installed; in CI on Debian it is installed first, elsewhere those tests say that
 * they are skipped.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, setup } from './setup.mjs';

const ICD = '/usr/share/vulkan/icd.d';
const lavapipe = () => {
  const name = existsSync(ICD) ? readdirSync(ICD).find((file) => /^lvp_icd.*\.json$/.test(file)) : undefined;
  return name ? join(ICD, name) : undefined;
};

setup();
const env = { ...process.env };
const hasGpu = existsSync('/dev/nvidia0') || existsSync('/dev/dri/renderD128');
if (!env.VK_DRIVER_FILES && !hasGpu) {
  const mayInstall = env.CI === 'true' && process.getuid?.() === 0 && existsSync('/etc/debian_version');
  if (!lavapipe() && mayInstall) {
    process.stderr.write('adder: installing lavapipe for the WebGPU tests …\n');
    const result = spawnSync('bash', [join(root, 'scripts', 'install-lavapipe.sh')], { stdio: ['ignore', 2, 2] });
    if (result.status !== 0) process.exit(2);
  }
  const driver = lavapipe();
  if (driver) env.VK_DRIVER_FILES = driver;
}
// Mesa complains on every start when it has no runtime folder.
if (!env.XDG_RUNTIME_DIR) env.XDG_RUNTIME_DIR = mkdtempSync(join(tmpdir(), 'adder-run-'));

const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js');
const child = spawn(
  process.execPath,
  ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning', jest, ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
    env,
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : (code ?? 1)));
