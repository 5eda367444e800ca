/**
 * Compiled kernels, cached by name, constants and binding aliases. Layouts are explicit, so a binding that the chosen
 * constants leave unused is still bound and the order of bindings is the order of declaration.
 */
import { EngineError } from '../../errors.js';
import { flags, type GpuDevice } from './device.js';
import { type Constants, completeSource, Float, type Source } from './source.js';

export interface Program {
  readonly name: string;
  readonly source: Source;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class Programs {
  private readonly cache = new Map<string, Program>();
  private readonly sources = new Map<string, Source>();
  private readonly checks = new Set<Promise<void>>();

  constructor(private readonly gpu: GpuDevice) {}

  /** The kernel's text and names before any alias; nothing is compiled. */
  source(kernel: string, constants: Constants): Source {
    const key = cacheKey(kernel, constants, {});
    let source = this.sources.get(key);
    if (!source) {
      source = completeSource(kernel, constants, {});
      this.sources.set(key, source);
    }
    return source;
  }

  get(kernel: string, constants: Constants, aliases: Readonly<Record<string, string>>): Program {
    const key = cacheKey(kernel, constants, aliases);
    let program = this.cache.get(key);
    if (!program) {
      program = this.compile(kernel, constants, aliases);
      this.cache.set(key, program);
    }
    return program;
  }

  /** Resolves when every compilation started so far has been judged; failures are noted on the device. */
  async checked(): Promise<void> {
    while (this.checks.size > 0) await Promise.all(this.checks);
  }

  private compile(kernel: string, constants: Constants, aliases: Readonly<Record<string, string>>): Program {
    const { device } = this.gpu;
    const source = completeSource(kernel, constants, aliases);
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: source.text, label: kernel });
    const entries: GPUBindGroupLayoutEntry[] = source.bindings.map(({ kind }, binding) => ({
      binding,
      visibility: flags.GPUShaderStage.COMPUTE,
      buffer: { type: kind === 'read' ? 'read-only-storage' : 'storage' },
    }));
    if (source.uniform >= 0) {
      entries.push({ binding: source.uniform, visibility: flags.GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } });
    }
    const layout = device.createBindGroupLayout({ entries, label: kernel });
    const pipeline = device.createComputePipeline({
      label: kernel,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    const check = this.judge(source, module, device.popErrorScope());
    this.checks.add(check);
    check.finally(() => this.checks.delete(check));
    return { name: kernel, source, pipeline, layout };
  }

  /** WebGPU reports compilation later than it is asked for; the verdict becomes the error of the next wait. */
  private async judge(source: Source, module: GPUShaderModule, scope: Promise<GPUError | null>): Promise<void> {
    try {
      const { messages } = await module.getCompilationInfo();
      const error = await scope;
      const worst = messages.find((message) => message.type === 'error');
      if (!worst && !error) return;
      const place = worst ? source.origin(worst.lineNum) : { file: source.file, line: undefined };
      const message = worst?.message ?? error?.message ?? '';
      this.gpu.fail(
        new EngineError({
          code: 'KERNEL_INVALID',
          message: `${place.file}${place.line ? `:${place.line}` : ''} does not compile: ${message.trim()}`,
          where: { file: place.file, line: place.line },
          fix: 'this is a defect of Adder, or of the GPU driver; report it with the name of the adapter',
        }),
        true,
      );
    } catch {
      // The device went away while it compiled; its loss is reported by itself.
    }
  }
}

function cacheKey(kernel: string, constants: Constants, aliases: Readonly<Record<string, string>>): string {
  let key = kernel;
  for (const name in constants) {
    const value = constants[name];
    key += `|${name}=${value instanceof Float ? `f${value.value}` : value}`;
  }
  for (const name in aliases) key += `|${name}>${aliases[name]}`;
  return key;
}
