/**
 * The cost of a 10 ms hop on one thread: features from 16 kHz, resampling before them, and FFTs to choose from.
 *
 *   node dist/bench/audio/features.js [--out FILE]
 */
import { pathToFileURL } from 'node:url';
import { loadResampler, Resampler } from '../../src/audio/decode/index.js';
import { FeatureExtractor, FFT_BINS, FFT_SIZE, PowerSpectrum } from '../../src/audio/features/index.js';
import { parseCommandLine } from '../../src/commands/command.js';
import { Random } from '../../src/engine/random.js';
import { publish, type Row, report, summarise } from '../measure.js';
import { importPeer } from './peers/load.js';

/** Microseconds a call, over `samples` groups of `inner` calls; the first group is thrown away. */
function micros(run: () => void, samples = 15, inner = 2000): { value: number; spread: [number, number] } {
  const times: number[] = [];
  for (let s = 0; s <= samples; s++) {
    const start = performance.now();
    for (let i = 0; i < inner; i++) run();
    if (s > 0) times.push(((performance.now() - start) * 1000) / inner);
  }
  return summarise(times);
}

interface FftJs {
  createComplexArray(): number[];
  realTransform(out: number[], input: ArrayLike<number>): void;
}
interface Pffft {
  HEAPF32: Float32Array;
  _pffft_new_setup(size: number, kind: number): number;
  _pffft_aligned_malloc(bytes: number): number;
  _pffft_transform_ordered(setup: number, input: number, output: number, work: number, direction: number): void;
}

/** Power spectra of the same 512 samples by each library, all from and to arrays of ours. */
async function transforms(x: Float64Array): Promise<{ name: string; run: () => void }[]> {
  const out = new Float64Array(FFT_BINS);
  const own = new PowerSpectrum();
  const { default: FFT } = await importPeer<{ default: new (size: number) => FftJs }>('fft.js');
  const radix4 = new FFT(FFT_SIZE);
  const complex = radix4.createComplexArray();
  const { default: load } = await importPeer<{ default(): Promise<Pffft> }>('@echogarden/pffft-wasm/simd');
  const module = await load();
  const setup = module._pffft_new_setup(FFT_SIZE, 0);
  const [input, output, work] = [0, 1, 2].map(() => module._pffft_aligned_malloc(4 * FFT_SIZE));
  const splitRadix = await importPeer<{ fft(x: Float64Array, out: Float64Array[]): void }>('fourier-transform');
  const parts = [new Float64Array(FFT_BINS), new Float64Array(FFT_BINS)];
  return [
    { name: 'FFT, ours (float64)', run: () => own.compute(x, out) },
    {
      name: 'FFT, fft.js 4.0.4 (float64)',
      run: () => {
        radix4.realTransform(complex, x);
        for (let k = 0; k < FFT_BINS; k++) out[k] = complex[2 * k] ** 2 + complex[2 * k + 1] ** 2;
      },
    },
    {
      name: 'FFT, fourier-transform 2.5.0 (float64)',
      run: () => {
        splitRadix.fft(x, parts);
        for (let k = 0; k < FFT_BINS; k++) out[k] = parts[0][k] ** 2 + parts[1][k] ** 2;
      },
    },
    {
      name: 'FFT, pffft-wasm 0.4.2 (float32, SIMD)',
      run: () => {
        const heap = module.HEAPF32;
        heap.set(x, input >> 2);
        module._pffft_transform_ordered(setup, input, output, work, 0);
        const at = output >> 2;
        out[0] = heap[at] ** 2;
        out[FFT_BINS - 1] = heap[at + 1] ** 2;
        for (let k = 1; k < FFT_BINS - 1; k++) out[k] = heap[at + 2 * k] ** 2 + heap[at + 2 * k + 1] ** 2;
      },
    },
  ];
}

export async function featureRows(): Promise<Row[]> {
  await loadResampler();
  const random = new Random(1);
  const noise = (length: number) => Float32Array.from({ length }, () => random.uniform(-0.5, 0.5));
  const rows: Row[] = [];
  const extractor = new FeatureExtractor();
  const hop = noise(160);
  rows.push({
    name: 'features, one hop of a live stream',
    unit: 'µs',
    ...micros(() => extractor.push(hop)),
    least: 15,
    aim: 10,
  });
  for (const rate of [8000, 44100, 48000]) {
    const resampler = new Resampler(rate);
    const part = noise(rate / 100);
    rows.push({
      name: `resampling of 10 ms from ${rate} Hz`,
      unit: 'µs',
      ...micros(() => resampler.push(part), 15, 500),
    });
    resampler.close();
  }
  const x = Float64Array.from(noise(FFT_SIZE));
  for (const { name, run } of await transforms(x)) rows.push({ name, unit: 'µs', ...micros(run) });
  return rows;
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseCommandLine('bench audio', args, { out: { type: 'string' } }, 0);
  publish(report('audio: cost of a hop', 'one CPU thread', await featureRows()), values.out);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
