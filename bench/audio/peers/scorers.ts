/** Voice activity detectors of others behind one interface: a score for every hop, in order, causal. */
import { importPeer, peerFile } from './load.js';

export interface Scorer {
  readonly name: string;
  /** Samples a call takes, at 16 kHz. */
  readonly hop: number;
  reset(): void;
  /** Score of the next hop; higher means speech. */
  score(samples: Float32Array): number | Promise<number>;
  /** What it says of later, after the hop just scored: names as those of the model's tracks. */
  outlook?(): Readonly<Record<string, number>>;
}

interface OrtTensor {
  data: Float32Array;
}
interface Ort {
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: number[]) => OrtTensor;
  InferenceSession: {
    create(
      path: string,
      options: object,
    ): Promise<{ run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>> }>;
  };
}

/** Silero VAD v5 and v6: 512 new samples with the 64 before them, a state of two layers of 128. */
export async function silero(version: 'v5' | 'v6'): Promise<Scorer> {
  const module = await importPeer<Ort & { default?: Ort }>('onnxruntime-node');
  const ort = module.default ?? module;
  const file = peerFile('@ricky0123', 'vad-web', 'dist', `silero_vad_${version}.onnx`);
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, executionProviders: ['cpu'] };
  const session = await ort.InferenceSession.create(file, options);
  const rate = new ort.Tensor('int64', BigInt64Array.of(16000n), []);
  const context = 64;
  let state = new ort.Tensor('float32', new Float32Array(256), [2, 1, 128]);
  let before = new Float32Array(context);
  return {
    name: `Silero ${version}`,
    hop: 512,
    reset() {
      state = new ort.Tensor('float32', new Float32Array(256), [2, 1, 128]);
      before = new Float32Array(context);
    },
    async score(samples) {
      const input = new Float32Array(context + 512);
      input.set(before);
      input.set(samples, context);
      before = samples.slice(512 - context);
      const result = await session.run({ input: new ort.Tensor('float32', input, [1, input.length]), state, sr: rate });
      state = result.stateN;
      return result.output.data[0];
    },
  };
}

interface Emscripten {
  _malloc(bytes: number): number;
  HEAP16: Int16Array;
  HEAPF32: Float32Array;
}
interface Fvad extends Emscripten {
  _fvad_new(): number;
  _fvad_reset(vad: number): void;
  _fvad_set_mode(vad: number, mode: number): number;
  _fvad_set_sample_rate(vad: number, rate: number): number;
  _fvad_process(vad: number, frame: number, length: number): number;
}

/** WebRTC's detector, mode 3 (least eager), 10 ms frames, hard decisions. */
export async function webrtc(): Promise<Scorer> {
  const { default: load } = await importPeer<{ default(): Promise<Fvad> }>('@echogarden/fvad-wasm');
  const module = await load();
  const vad = module._fvad_new();
  const frame = module._malloc(320);
  const configure = () => {
    module._fvad_reset(vad);
    module._fvad_set_mode(vad, 3);
    module._fvad_set_sample_rate(vad, 16000);
  };
  configure();
  return {
    name: 'WebRTC mode 3',
    hop: 160,
    reset: configure,
    score(samples) {
      for (let i = 0; i < 160; i++) {
        module.HEAP16[(frame >> 1) + i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768)));
      }
      return module._fvad_process(vad, frame, 160);
    },
  };
}

interface Rnnoise extends Emscripten {
  _rnnoise_create(model: number): number;
  _rnnoise_destroy(state: number): void;
  _rnnoise_process_frame(state: number, output: number, input: number): number;
}

/** RNNoise's voice probability; it wants 48 kHz, so every hop is interpolated threefold first (1 ms of delay). */
export async function rnnoise(): Promise<Scorer> {
  const { default: load } = await importPeer<{ default(): Promise<Rnnoise> }>('@echogarden/rnnoise-wasm');
  const module = await load();
  let state = module._rnnoise_create(0);
  const input = module._malloc(480 * 4);
  const output = module._malloc(480 * 4);
  let upsample = threefold();
  return {
    name: 'RNNoise',
    hop: 160,
    reset() {
      module._rnnoise_destroy(state);
      state = module._rnnoise_create(0);
      upsample = threefold();
    },
    score(samples) {
      const up = upsample(samples);
      for (let i = 0; i < 480; i++) module.HEAPF32[(input >> 2) + i] = up[i] * 32768;
      return module._rnnoise_process_frame(state, output, input);
    },
  };
}

/** Windowed-sinc interpolation by three, 32 input samples wide. */
function threefold(): (samples: Float32Array) => Float32Array {
  const half = 16;
  const taps = [0, 1, 2].map((phase) =>
    Float64Array.from({ length: 2 * half }, (_, k) => {
      const t = k - half + 1 - phase / 3;
      const sinc = t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t);
      return sinc * (0.5 + 0.5 * Math.cos((Math.PI * t) / (half + 1)));
    }),
  );
  let history = new Float32Array(2 * half);
  return (samples) => {
    const line = new Float32Array(history.length + samples.length);
    line.set(history);
    line.set(samples, history.length);
    history = line.slice(-2 * half);
    const out = new Float32Array(samples.length * 3);
    for (let i = 0; i < samples.length; i++) {
      for (let phase = 0; phase < 3; phase++) {
        let sum = 0;
        for (let k = 0; k < 2 * half; k++) sum += taps[phase][k] * line[i + 1 + k];
        out[3 * i + phase] = sum;
      }
    }
    return out;
  };
}

/** Log energy of each hop: the floor. */
export function energy(): Scorer {
  return {
    name: 'energy',
    hop: 160,
    reset() {},
    score(samples) {
      let sum = 0;
      for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
      return Math.log(sum / samples.length + 1e-10);
    },
  };
}
