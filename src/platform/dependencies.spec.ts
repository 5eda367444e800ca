import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';

it('every dependency has its line in docs/dependencies.md, and no line is left over', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
  const declared = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)];
  const [, tables] = readFileSync('docs/dependencies.md', 'utf8').split('## At run time');
  const described = tables!
    .split('## Left out on purpose')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| package'))
    .flatMap((line) =>
      line
        .split('|')[1]!
        .split(',')
        .map((name) => name.trim()),
    );
  expect(described.sort()).toEqual(declared.sort());
});

it('every version is exact, and the lock file names no registry', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
  for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) {
    expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
  }
  expect(readFileSync('package-lock.json', 'utf8')).not.toContain('"resolved"');
});
