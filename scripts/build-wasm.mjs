/**
 * Compiles the AssemblyScript kernels to src/engine/kernels/wasm/{simd,relaxed}.wasm: one source, two builds. Skips a
 * build that is newer than every source. `--force` builds always.
 */
import { mkdirSync, readdirSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'src/engine/kernels/assembly');
const target = join(root, 'src/engine/kernels/wasm');

const BUILDS = [
  { file: 'simd.wasm', features: ['simd', 'threads', 'bulk-memory'] },
  { file: 'relaxed.wasm', features: ['simd', 'threads', 'bulk-memory', 'relaxed-simd'] },
];

function modified(path) {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

const started = new Date();
const inputs = [fileURLToPath(import.meta.url), ...readdirSync(sources).map((name) => join(sources, name))];
const newest = Math.max(...inputs.map(modified));
const outdated = BUILDS.filter(({ file }) => process.argv.includes('--force') || modified(join(target, file)) < newest);

if (outdated.length > 0) {
  mkdirSync(target, { recursive: true });
  const { default: asc } = await import('assemblyscript/asc');
  for (const { file, features } of outdated) {
    const { error, stderr } = await asc.main(
      [
        'index.ts',
        '--baseDir',
        sources,
        '--outFile',
        file,
        '--optimizeLevel',
        '3',
        '--shrinkLevel',
        '0',
        '--noAssert',
        '--runtime',
        'stub',
        // Nothing of ours lives in static memory; what the compiler may place stays clear of the control words.
        '--memoryBase',
        '1024',
        '--importMemory',
        '--sharedMemory',
        '--initialMemory',
        '16',
        '--maximumMemory',
        '65536',
        '--use',
        'abort=',
        ...features.flatMap((feature) => ['--enable', feature]),
      ],
      {
        // Written beside and renamed, so that nobody ever reads half a module.
        writeFile: (name, contents) => {
          if (name !== file) return;
          const unfinished = join(target, `${file}.${process.pid}`);
          writeFileSync(unfinished, contents);
          // As old as its inputs: a source saved while this ran is newer, and the next call builds again.
          utimesSync(unfinished, started, started);
          renameSync(unfinished, join(target, file));
        },
      },
    );
    if (error) {
      process.stderr.write(`${stderr.toString()}\n${pathToFileURL(sources).href}: ${error.message}\n`);
      process.exit(1);
    }
  }
}
