/** What a model's folder says about its stack: `stack.json`, written by `adder evaluate --fit-stack`. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../../engine/weights/file.js';
import { AdderError } from '../../platform/errors.js';
import { factorsSchema } from './calibration.js';
import { DEFAULT_PARTS, STACK_PARTS } from './stack.js';

const FILE = 'stack.json';

const settingsSchema = z.strictObject({
  version: z.literal(1),
  parts: z.array(z.enum(STACK_PARTS)).default([...DEFAULT_PARTS]),
  /** Where the factors come from, for people. */
  fitted: z.record(z.string(), z.unknown()).optional(),
  factors: z.partialRecord(factorsSchema.keyType, factorsSchema.valueType).default({}),
});

export type StackSettings = z.infer<typeof settingsSchema>;

/** Settings of a model's folder; the defaults where it has none. @throws AdderError `BAD_MODEL` */
export function readStackSettings(folder: string): StackSettings {
  const file = join(folder, FILE);
  if (!existsSync(file)) return settingsSchema.parse({ version: 1 });
  const parsed = settingsSchema.safeParse(readJsonFile(file));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new AdderError({
    code: 'BAD_MODEL',
    message: `these are no settings of a stack: ${issue.message}`,
    where: { file, field: issue.path.join('.') },
    fix: 'fit them again with adder evaluate --fit-stack, or delete the file',
  });
}

export function writeStackSettings(folder: string, settings: StackSettings): void {
  writeFileSync(join(folder, FILE), `${JSON.stringify(settings, null, 1)}\n`);
}
