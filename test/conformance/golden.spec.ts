/** Golden outputs and gradients of Hugging Face transformers, on every backend. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { readFolder, verifyFolder } from '../../src/commands/verify.js';
import { onEveryBackend } from './backends.js';

const root = fileURLToPath(new URL('../golden/', import.meta.url));
const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());

onEveryBackend('golden outputs', (backend) => {
  for (const { name } of folders) {
    it(name, async () => {
      const input = readFolder(join(root, name));
      const { passed, comparisons } = await verifyFolder(input, backend);
      const failed = comparisons.filter((comparison) => !comparison.passed);
      expect(failed).toEqual([]);
      expect(passed).toBe(true);
      // Logits by scan, step and three splits and three hidden states; where it trains, the loss and every gradient.
      const gradients = backend.trains ? 1 + input.weights.size : 0;
      expect(comparisons).toHaveLength(8 + gradients);
    }, 600_000);
  }
});
