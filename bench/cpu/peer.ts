/** onnxruntime-node, where it is installed: `npm ci --ignore-scripts --prefix bench/cpu`. */
import { createRequire } from 'node:module';
import type { OnnxGraph } from './onnx.js';

interface OrtTensor {
  readonly data: Float32Array;
}
interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
  Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OrtTensor;
}

/** The compiled benchmark lies in dist/bench/cpu, its package in bench/cpu. */
const PLACES = ['./package.json', '../../../bench/cpu/package.json'];

export function loadPeer(): Ort | undefined {
  for (const place of PLACES) {
    try {
      return createRequire(new URL(place, import.meta.url))('onnxruntime-node') as Ort;
    } catch {
      // Not installed here.
    }
  }
  return undefined;
}

/** A graph ready to run on fixed inputs. */
export interface PeerModel {
  run(): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

export async function peerModel(
  ort: Ort,
  graph: OnnxGraph,
  inputs: Record<string, { shape: readonly number[]; data: Float32Array }>,
  threads: number,
): Promise<PeerModel> {
  const session = await ort.InferenceSession.create(graph.encode(), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
  });
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, new ort.Tensor('float32', data, shape)]),
  );
  return { run: () => session.run(feeds), release: () => session.release() };
}
