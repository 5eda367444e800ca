import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Safetensors, writeSafetensors } from '../engine/weights/safetensors.js';
import verify, { type VerifyReport } from './verify.js';

const golden = fileURLToPath(new URL('../../test/golden/mamba1-tiny/', import.meta.url));
const FILES = ['config.json', 'model.safetensors', 'expected.safetensors', 'gradients.safetensors'];

describe('adder verify', () => {
  let folder: string;
  let printed: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'adder-verify-'));
    for (const file of FILES) copyFileSync(join(golden, file), join(folder, file));
    printed = '';
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  afterEach(() => {
    jest.restoreAllMocks();
    rmSync(folder, { recursive: true });
  });

  /** Rewrites one tensor of one file. */
  function change(file: string, name: string, edit: (data: Float32Array) => void): void {
    const read = new Safetensors(readFileSync(join(folder, file)));
    const tensors = Object.fromEntries([...read.entries.keys()].map((key) => [key, read.read(key)]));
    const data = Float32Array.from(tensors[name].data as Float32Array);
    edit(data);
    writeFileSync(join(folder, file), writeSafetensors({ ...tensors, [name]: { ...tensors[name], data } }));
  }

  const failure = (args: string[]) =>
    verify.run(args).then(
      (code) => `exit ${code}`,
      (error) => [error.name, error.code, error.where?.field],
    );

  it('passes a folder of transformers, prints the errors of every part, and says what wasm leaves out', async () => {
    expect(await verify.run([folder, '--backend', 'reference'])).toBe(0);
    for (const part of [
      'logits, scan',
      'logits, step',
      'split 3',
      'hidden state 0',
      'loss',
      'gradient backbone.norm_f.weight',
    ]) {
      expect(printed).toContain(part);
    }
    expect(printed).toContain('all 31 within tolerance');
    printed = '';
    expect(await verify.run([folder, '--backend', 'wasm'])).toBe(0);
    expect(printed).toContain('not compared, wasm does not train');
  });

  it('prints JSON, and exits 1 where the logits or one gradient are off', async () => {
    change('gradients.safetensors', 'backbone.layers.1.mixer.A_log', (data) => {
      data[5] += 0.01 * Math.max(...data.map(Math.abs));
    });
    expect(await verify.run([folder, '--backend', 'reference', '--json'])).toBe(1);
    const report = JSON.parse(printed) as VerifyReport;
    expect(report).toMatchObject({ folder, backend: 'reference', passed: false, notes: [] });
    const failed = report.comparisons.filter((comparison) => !comparison.passed).map(({ name }) => name);
    expect(failed).toEqual(['gradient backbone.layers.1.mixer.A_log']);

    printed = '';
    change('model.safetensors', 'backbone.layers.0.mixer.D', (data) => {
      data[3] += 0.1;
    });
    expect(await verify.run([folder, '--backend', 'wasm'])).toBe(1);
    expect(printed).toContain('ABOVE TOLERANCE');
  });

  it('goes on without gradients, loss or hidden states', async () => {
    rmSync(join(folder, 'gradients.safetensors'));
    const read = new Safetensors(readFileSync(join(folder, 'expected.safetensors')));
    const only = { input_ids: read.read('input_ids'), logits: read.read('logits') };
    writeFileSync(join(folder, 'expected.safetensors'), writeSafetensors(only));
    expect(await verify.run([folder, '--backend', 'reference'])).toBe(0);
    expect(printed).toContain('the folder gives no loss');
    expect(printed).toContain('all 5 within tolerance');
  });

  it('names what is wrong with the input', async () => {
    expect(await failure([])).toEqual(['AdderError', 'BAD_ARGUMENT', undefined]);
    expect(await failure([folder, '--backend', 'cuda'])).toEqual(['AdderError', 'BAD_OPTION', '--backend']);
    expect(await failure([folder, '--bakend', 'wasm'])).toEqual(['AdderError', 'UNKNOWN_OPTION', undefined]);
    expect(await failure([join(folder, 'none')])).toEqual(['AdderError', 'FILE_NOT_FOUND', undefined]);
    writeFileSync(
      join(folder, 'gradients.safetensors'),
      readFileSync(join(folder, 'gradients.safetensors')).subarray(0, 99),
    );
    expect(await failure([folder])).toEqual(['AdderError', 'SAFETENSORS_TRUNCATED', undefined]);
    rmSync(join(folder, 'gradients.safetensors'));
    copyFileSync(join(folder, 'model.safetensors'), join(folder, 'expected.safetensors'));
    expect(await failure([folder])).toEqual(['AdderError', 'TENSOR_MISSING', 'input_ids']);
    writeFileSync(join(folder, 'config.json'), '{"model_type": "mamba", "vocab_size": 61');
    expect(await failure([folder])).toEqual(['AdderError', 'BAD_JSON', undefined]);
    rmSync(join(folder, 'config.json'));
    mkdirSync(join(folder, 'config.json'));
    expect(await failure([folder])).toEqual(['AdderError', 'NOT_A_FILE', undefined]);
  });
});
