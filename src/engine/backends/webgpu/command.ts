/** From a kernel call, by names, to what a compute pass needs. */
import { EngineError } from '../../errors.js';
import type { Tensor } from '../../tensor.js';
import type { BufferPool, Storage } from './pool.js';
import type { Program, Programs } from './program.js';
import type { Constants } from './source.js';

/**
 * One launch of a kernel.
 *
 * `bindings` name the kernel's storage variables; an absent optional tensor is undefined. `params` name the fields of its
 * `struct Params`; fields `xOffset` and `xStride` of a binding `x` are filled in from the tensor (0 if absent).
 * `workgroups` is [x, y, z], or a total that is folded over x and y, because a dimension ends at 65,535: kernels then
 * number themselves by `flatWorkgroup` (include/flat.wgsl) and leave when beyond their work. 0 launches nothing.
 */
export interface Dispatch {
  kernel: string;
  constants?: Constants;
  bindings: Readonly<Record<string, Tensor | undefined>>;
  params?: Readonly<Record<string, number>>;
  workgroups: number | readonly [number, number, number];
  /** Name in profiles, if the kernel's own says too little. */
  label?: string;
}

/** 32-bit words of one slice of uniforms (256 bytes, the alignment every adapter accepts). */
export const SLICE_WORDS = 64;
export const SLICE_BYTES = SLICE_WORDS * 4;
const MAX_WORKGROUPS = 65_535;

export interface Command {
  readonly program: Program;
  readonly label: string;
  readonly buffers: readonly GPUBuffer[];
  readonly words: Uint32Array;
  readonly workgroups: readonly [number, number, number];
}

export function storageOf(t: Tensor): Storage {
  return t.storage as Storage;
}

function foldWorkgroups(count: number | readonly [number, number, number]): readonly [number, number, number] {
  if (typeof count !== 'number') return count;
  if (count <= MAX_WORKGROUPS) return [count, 1, 1];
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / y), y, 1];
}

/**
 * Binds tensors to a compiled kernel, or gives undefined where there is nothing to launch.
 *
 * @throws EngineError `KERNEL_CALL` for names the kernel does not know, a freed tensor, or too many workgroups.
 */
export function resolve(call: Dispatch, programs: Programs, pool: BufferPool): Command | undefined {
  const workgroups = foldWorkgroups(call.workgroups);
  if (workgroups.some((n) => n === 0)) return undefined;
  const refuse = (message: string) =>
    new EngineError({
      code: 'KERNEL_CALL',
      message: `${call.kernel}: ${message}`,
      where: { file: `${call.kernel}.wgsl` },
      fix: 'this is a defect of Adder; report it',
    });
  if (workgroups.some((n) => n > MAX_WORKGROUPS)) throw refuse(`${workgroups.join(' × ')} workgroups are too many`);

  const constants = call.constants ?? {};
  const base = programs.source(call.kernel, constants);
  const storages = base.bindings.map(({ name }, index) => {
    if (!(name in call.bindings)) throw refuse(`no tensor for binding ${name}`);
    const tensor = call.bindings[name];
    if (!tensor) return pool.dummy(index);
    const storage = storageOf(tensor);
    if (!storage.live) throw refuse(`the tensor at ${name} was freed`);
    return storage;
  });
  for (const name in call.bindings) {
    if (!base.bindings.some((binding) => binding.name === name)) throw refuse(`no binding is called ${name}`);
  }

  // A buffer may be bound several times for reading; if any of its bindings writes, they all become one.
  const aliases: Record<string, string> = {};
  let aliased = false;
  storages.forEach((storage, i) => {
    const first = storages.findIndex((other) => other.buffer === storage.buffer);
    if (first === i) return;
    const shared = base.bindings.filter((_, j) => storages[j].buffer === storage.buffer);
    if (shared.every(({ kind }) => kind === 'read')) return;
    aliases[base.bindings[i].name] = base.bindings[first].name;
    aliased = true;
  });
  const program = programs.get(call.kernel, constants, aliases);
  const buffers = aliased
    ? storages.filter((_, i) => !(base.bindings[i].name in aliases)).map(({ buffer }) => buffer)
    : storages.map(({ buffer }) => buffer);

  const words = new Uint32Array(SLICE_WORDS);
  const floats = new Float32Array(words.buffer);
  const params = call.params ?? {};
  if (base.params.length > SLICE_WORDS) throw refuse('too many params');
  base.params.forEach(({ name, kind }, index) => {
    let value: number | undefined = params[name];
    if (value === undefined) {
      const match = /^(\w+)(Offset|Stride)$/.exec(name);
      if (!match || !(match[1] in call.bindings)) throw refuse(`no value for param ${name}`);
      const tensor = call.bindings[match[1]];
      value = match[2] === 'Offset' ? (tensor?.offset ?? 0) : (tensor?.stride ?? 0);
    }
    if (kind === 'f32') floats[index] = value;
    else words[index] = value;
  });
  for (const name in params) {
    if (!base.params.some((field) => field.name === name)) throw refuse(`no param is called ${name}`);
  }
  return { program, label: call.label ?? call.kernel, buffers, words, workgroups };
}

/** A command with everything made that a compute pass needs. */
export interface Encoded {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

/** Makes the bind group; `offset` is where the command's words lie in `arena`. */
export function encode(device: GPUDevice, command: Command, arena: GPUBuffer, offset: number): Encoded {
  const { program, buffers, workgroups } = command;
  const entries: GPUBindGroupEntry[] = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  if (program.source.uniform >= 0) {
    entries.push({ binding: program.source.uniform, resource: { buffer: arena, offset, size: SLICE_BYTES } });
  }
  const group = device.createBindGroup({ layout: program.layout, entries });
  return { pipeline: program.pipeline, group, x: workgroups[0], y: workgroups[1], z: workgroups[2] };
}
