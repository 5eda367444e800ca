/**
 * Writes the typed client of schema.prisma to src/generated/prisma, unless what is there belongs to this schema already.
 *
 *   node prisma/generate.mjs [--force]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** Makes the generated client current; throws with the generator's output when it fails. */
export function ensureClient(force = false) {
  const manifest = createRequire(import.meta.url).resolve('prisma/package.json');
  const stamp = join(here, '..', 'src', 'generated', 'prisma', '.stamp');
  const wanted = createHash('sha256')
    .update(JSON.parse(readFileSync(manifest, 'utf8')).version)
    .update(readFileSync(join(here, 'schema.prisma')))
    .digest('hex');
  if (!force && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  const cli = join(dirname(manifest), 'build', 'index.js');
  const result = spawnSync(process.execPath, [cli, 'generate', '--config', join(here, 'prisma.config.ts')], {
    cwd: join(here, '..'),
    encoding: 'utf8',
    env: { ...process.env, PRISMA_HIDE_UPDATE_MESSAGE: '1', CHECKPOINT_DISABLE: '1', NODE_OPTIONS: '' },
  });
  if (result.status !== 0) throw new Error(`prisma generate failed: ${result.stdout}${result.stderr}`);
  writeFileSync(stamp, wanted);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  ensureClient(process.argv.includes('--force'));
}
