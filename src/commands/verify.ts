import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend, BackendName } from '../engine/backend.js';
import { EngineError } from '../engine/errors.js';
import { type LanguageModelConfig, parseLanguageModelConfig } from '../engine/models/language-model-config.js';
import { readGolden } from '../engine/models/language-model-golden.js';
import { type Comparison, type Golden, verifyLanguageModel } from '../engine/models/language-model-verify.js';
import { readLanguageModelWeights, resolveTied } from '../engine/models/language-model-weights.js';
import { openCheckpoint, SafetensorsFile } from '../engine/weights/file.js';
import { AdderError } from '../platform/errors.js';
import { openBackend } from '../platform/model/open-backend.js';
import { type Command, parseCommandLine } from './command.js';

const help = `adder verify DIR: check a Mamba checkpoint folder against golden outputs

usage: adder verify DIR [--backend wasm|webgpu|reference] [--json]

DIR holds config.json and model.safetensors (or its shards) of a Hugging Face MambaForCausalLM or Mamba2ForCausalLM,
expected.safetensors with input_ids and logits (optionally loss and hidden_states.0, .1, …), and optionally
gradients.safetensors with the gradient of the loss for every parameter.

Compared are logits of the whole sequence at once (scan), token by token (step), and by random splits between both;
hidden states; the loss; and gradients, where the backend trains (webgpu, reference). Two relative errors are printed,
‖ours − golden‖ / ‖golden‖ and max |ours − golden| / max |golden|; both must stay within 1e-4 (gradients: 1e-3).

  --backend NAME  wasm, webgpu or reference (float64); by default webgpu where there is a GPU, wasm otherwise
  --json          print JSON

exit code: 0 within tolerance, 1 above it, 2 for bad input
`;

/** What `--json` prints. */
export interface VerifyReport {
  folder: string;
  backend: BackendName;
  /** What ran it, e.g. the adapter. */
  description: string;
  passed: boolean;
  comparisons: Comparison[];
  /** What was not compared, and why. */
  notes: string[];
}

export interface VerifyFolder {
  folder: string;
  config: LanguageModelConfig;
  weights: ReadonlyMap<string, Float32Array>;
  golden: Golden;
}

/** Reads and checks everything in a folder, so that bad input is told before a device starts. */
export function readFolder(folder: string): VerifyFolder {
  const open: { close(): void }[] = [];
  const opened = <T extends { close(): void }>(file: T): T => {
    open.push(file);
    return file;
  };
  try {
    const checkpoint = opened(openCheckpoint(folder));
    const parsed = parseLanguageModelConfig(checkpoint.config, checkpoint.configFile);
    const config = resolveTied(parsed, checkpoint.tensors);
    const weights = readLanguageModelWeights(config, checkpoint.tensors);
    const expected = opened(new SafetensorsFile(join(folder, 'expected.safetensors')));
    const gradientFile = join(folder, 'gradients.safetensors');
    const gradients = existsSync(gradientFile) ? opened(new SafetensorsFile(gradientFile)) : undefined;
    return { folder, config, weights, golden: readGolden(config, expected, gradients) };
  } finally {
    for (const file of open) file.close();
  }
}

/** Verifies a folder on a backend that the caller owns. */
export async function verifyFolder(
  { folder, config, weights, golden }: VerifyFolder,
  backend: Backend,
): Promise<VerifyReport> {
  const comparisons = await verifyLanguageModel(backend, config, weights, golden);
  const notes: string[] = [];
  if (!backend.trains) notes.push(`loss and gradients: not compared, ${backend.name} does not train`);
  else if (golden.loss === undefined) notes.push('loss and gradients: not compared, the folder gives no loss');
  else if (!golden.gradients) notes.push('gradients: not compared, the folder gives none');
  const passed = comparisons.every((comparison) => comparison.passed);
  return { folder, backend: backend.name, description: backend.description, passed, comparisons, notes };
}

function table({ folder, backend, description, passed, comparisons, notes }: VerifyReport): string {
  const width = Math.max(...comparisons.map(({ name }) => name.length));
  const cell = (value: number) => value.toExponential(2).padStart(10);
  const lines = comparisons.map(
    ({ name, relative, maximum, tolerance, passed: ok }) =>
      `  ${name.padEnd(width)} ${cell(relative)} ${cell(maximum)} ${tolerance.toExponential(0).padStart(10)}  ${ok ? 'ok' : 'ABOVE TOLERANCE'}`,
  );
  const failed = comparisons.filter((comparison) => !comparison.passed).length;
  return [
    `${folder} on ${backend} (${description})`,
    '',
    `  ${'relative error'.padEnd(width)} ${'norm'.padStart(10)} ${'maximum'.padStart(10)} ${'tolerance'.padStart(10)}`,
    ...lines,
    ...notes.map((note) => `  ${note}`),
    '',
    passed ? `all ${comparisons.length} within tolerance` : `${failed} of ${comparisons.length} above tolerance`,
    '',
  ].join('\n');
}

/** Runs `adder verify`; resolves to 0 within tolerance, 1 above it. */
export async function run(args: string[]): Promise<number> {
  const options = { backend: { type: 'string' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = parseCommandLine('verify', args, options, 1);
  const [folder] = positionals;
  if (folder === undefined) {
    throw new AdderError({ code: 'BAD_ARGUMENT', message: 'DIR is missing', fix: 'see adder verify --help' });
  }
  try {
    const input = readFolder(folder);
    const backend = await openBackend(values.backend);
    try {
      const report = await verifyFolder(input, backend);
      process.stdout.write(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : table(report));
      return report.passed ? 0 : 1;
    } finally {
      await backend.dispose();
    }
  } catch (error) {
    // Bad weights and missing devices are the user's to mend; the engine's own error class has the same fields.
    if (error instanceof EngineError) throw new AdderError({ ...error, message: error.message, cause: error });
    throw error;
  }
}

const command: Command = { help, run };
export default command;
