/**
 * From nothing to a GPU device, once per process.
 *
 * Rules of npm `webgpu` 0.6 that this file keeps: the object `create()` returns must stay strongly reachable for the
 * life of the process, otherwise the collector frees Dawn under live devices; `create()` is called once; an adapter
 * gives one device, so every device (also the one after a loss) takes a fresh adapter; limits and features are opt-in.
 */
import { EngineError } from '../../errors.js';

/** Toggles without which drivers before 615.71 offer neither f16 nor subgroup matrices, and bounds checks that our kernels make themselves. */
const DEFAULT_TOGGLES = [
  'allow_unsafe_apis',
  'vulkan_enable_f16_on_nvidia',
  'use_vulkan_memory_model',
  'disable_robustness',
];

const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix'] as const;

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
] as const;

export type AdapterChoice = 'hardware' | 'software' | 'any';

/** A device, what it can do, and the first thing that went wrong with it. */
export interface GpuDevice {
  readonly device: GPUDevice;
  /** Vendor, device and driver in one line. */
  readonly description: string;
  /** Whether the CPU plays the GPU (lavapipe, SwiftShader). */
  readonly software: boolean;
  readonly f16: boolean;
  readonly subgroups: boolean;
  readonly timestamps: boolean;
  /** Whether subgroups of 32 multiply f16 matrices of 16 × 16 × 16 into f32. */
  readonly subgroupMatrix: boolean;
  /** Smallest and largest subgroup; 0 where unknown. */
  readonly subgroupSize: readonly [number, number];
  readonly limits: GPUSupportedLimits;
  /** The error to report at the next wait, if any; the gravest wins. Reading it does not clear it. */
  failure(): EngineError | undefined;
  /** Note an error; `grave` ones (a lost device, a kernel that does not compile) displace what they entail. */
  fail(error: EngineError, grave?: boolean): void;
  /** Forget an error that was reported. A lost device stays lost. */
  clearFailure(): void;
  readonly lost: boolean;
}

/** Constants of WebGPU; a browser has them as globals, the npm package exports them untyped. */
interface Flags {
  GPUBufferUsage: typeof GPUBufferUsage;
  GPUMapMode: typeof GPUMapMode;
  GPUShaderStage: typeof GPUShaderStage;
}

interface Dawn {
  gpu: GPU;
  globals: Flags;
}

const HOLDER = Symbol.for('adder.webgpu');
type Holder = { [HOLDER]?: GPU };

let loaded: Promise<Dawn> | undefined;

/** Loads Dawn on first use, so that a process which never asks for a GPU never loads it. */
function loadDawn(): Promise<Dawn> {
  loaded ??= import('webgpu').then(({ create, globals }) => {
    // The addon's own function outlives every module registry (test runners make several in one process).
    const holder = create as typeof create & Holder;
    if (!holder[HOLDER]) {
      const toggles = process.env.ADDER_DAWN_FEATURES ?? DEFAULT_TOGGLES.join(',');
      const flags = ['disable-dawn-features=timestamp_quantization'];
      if (toggles !== '') flags.push(`enable-dawn-features=${toggles}`);
      holder[HOLDER] = create(flags);
    }
    const gpu = holder[HOLDER];
    (globalThis as Holder)[HOLDER] = gpu;
    return { gpu, globals: globals as Flags };
  });
  return loaded;
}

/** Buffer usage and map flags; only valid after `openDevice` has resolved once. */
export let flags: Flags;

function isSoftware(info: GPUAdapterInfo): boolean {
  return (
    info.isFallbackAdapter ||
    /llvmpipe|lavapipe|swiftshader|software/i.test(
      `${info.vendor} ${info.architecture} ${info.device} ${info.description}`,
    )
  );
}

function describe(info: GPUAdapterInfo): string {
  const name = info.description || info.device || info.vendor || 'unknown adapter';
  return info.vendor && !name.toLowerCase().includes(info.vendor.toLowerCase()) ? `${info.vendor} ${name}` : name;
}

/**
 * A fresh device on the adapter Dawn prefers, or undefined where there is none of the wanted kind.
 *
 * @throws EngineError `WEBGPU_UNAVAILABLE` when Dawn itself cannot be loaded, `DEVICE_REFUSED` when the driver gives no device.
 */
export async function openDevice(choice: AdapterChoice): Promise<GpuDevice | undefined> {
  const { gpu, globals } = await loadDawn().catch((cause: unknown) => {
    loaded = undefined;
    throw new EngineError({
      code: 'WEBGPU_UNAVAILABLE',
      message: `the npm package webgpu could not be loaded: ${(cause as Error).message}`,
      fix: 'reinstall the packages on this platform, or use the wasm backend',
      cause,
    });
  });
  flags = globals;
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return undefined;
  const software = isSoftware(adapter.info);
  if (choice !== 'any' && software !== (choice === 'software')) return undefined;

  const requiredLimits: Record<string, number> = {};
  for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const { info } = adapter;
  const description = describe(info);
  const subgroupMatrix = requiredFeatures.includes(FEATURES[3] as GPUFeatureName) && offersF16Matrix(info);
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ requiredFeatures, requiredLimits, label: 'adder' });
  } catch (cause) {
    throw new EngineError({
      code: 'DEVICE_REFUSED',
      message: `the driver gave no device on ${description}: ${(cause as Error).message}`,
      fix: 'check that the GPU is free and its driver works, or use the wasm backend',
      cause,
    });
  }
  return track(device, {
    description,
    software,
    f16: device.features.has('shader-f16'),
    subgroups: device.features.has('subgroups'),
    timestamps: device.features.has('timestamp-query'),
    subgroupMatrix:
      subgroupMatrix && device.features.has('shader-f16') && info.subgroupMinSize === 32 && info.subgroupMaxSize === 32,
    subgroupSize: [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0],
    limits: device.limits,
  });
}

/** Whether the adapter multiplies f16 tiles of 16 × 16 × 16 into f32. Adapters that list no configurations are taken at the feature's word. */
function offersF16Matrix(info: GPUAdapterInfo): boolean {
  type Config = { componentType: string; resultComponentType: string; M: number; N: number; K: number };
  const configs = (info as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<Config> }).subgroupMatrixConfigs;
  const list = configs ? [...configs] : [];
  return (
    list.length === 0 ||
    list.some(
      (c) => c.componentType === 'f16' && c.resultComponentType === 'f32' && c.M === 16 && c.N === 16 && c.K === 16,
    )
  );
}

type Facts = Omit<GpuDevice, 'device' | 'failure' | 'fail' | 'clearFailure' | 'lost'>;

/** Turns the device's asynchronous errors into one error that the next wait reports. */
function track(device: GPUDevice, facts: Facts): GpuDevice {
  let failure: EngineError | undefined;
  let grave = false;
  let lost = false;
  const fail = (error: EngineError, isGrave = false) => {
    if (lost || (failure && (grave || !isGrave))) return;
    failure = error;
    grave = isGrave;
  };
  device.addEventListener('uncapturederror', (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    event.preventDefault();
    const outOfMemory = error.constructor?.name === 'GPUOutOfMemoryError';
    fail(
      new EngineError({
        code: outOfMemory ? 'GPU_OUT_OF_MEMORY' : 'GPU_ERROR',
        message: `${outOfMemory ? 'the GPU has no memory left' : 'the GPU refused a command'}: ${firstLine(error.message)}`,
        fix: outOfMemory ? 'use a smaller batch or a shorter length' : 'this is a defect of Adder; report it',
        cause: error,
      }),
    );
  });
  device.lost.then((info) => {
    failure = undefined;
    fail(
      new EngineError({
        code: 'DEVICE_LOST',
        message: `the GPU device was lost (${info.reason}): ${firstLine(info.message)}`,
        fix: 'create the backend again; work that was under way has to be repeated',
      }),
      true,
    );
    lost = true;
  });
  return {
    ...facts,
    device,
    failure: () => failure,
    fail,
    clearFailure: () => {
      if (lost) return;
      failure = undefined;
      grave = false;
    },
    get lost() {
      return lost;
    },
  };
}

export function firstLine(text: string): string {
  return text.trim().split('\n')[0];
}
