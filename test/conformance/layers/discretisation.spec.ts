/**
 * The choices of discretisation against each other, on every backend: a time-invariant scan is a convolution; zero-order hold
 * and exponential–Euler agree to first order in dt.
 */
import { expect, it } from '@jest/globals';
import { Graph } from '../../../src/engine/graph.js';
import { convolutionKernel, Mamba1Mixer, mamba1Parameters } from '../../../src/engine/layers/mamba1.js';
import type { Weights } from '../../../src/engine/layers/parameters.js';
import { relativeErrors } from '../../../src/engine/models/language-model-verify.js';
import { Random } from '../../../src/engine/random.js';
import { onEveryBackend } from '../backends.js';
import { expectClose } from '../compare.js';
import { type Call, CONTIGUOUS, execute } from '../kernels/call.js';
import { flat, output, rows } from '../kernels/case.js';
import { build, sequences, timeInvariant, upload, uploadLengths, weightsOf } from './layer-case.js';

/** softplus⁻¹ */
const raw = (dt: number) => Math.log(Math.expm1(dt));

function scanCall(kernel: 'selectiveScan' | 'ssd', dt: number, discretisation: 'euler' | 'zoh'): Call {
  const random = new Random(1);
  const [batch, length, channels, dState] = [2, 40, 6, 4];
  const shape = [batch, length, channels];
  const bc = [batch, length, dState];
  const steps = new Float64Array(batch * length * channels).fill(raw(dt));
  return {
    kernel,
    args: {
      out: output(shape),
      x: rows(random, shape),
      dt: { shape, rows: true, data: steps },
      aLog: flat(random, kernel === 'ssd' ? [channels] : [channels, dState], 0.3),
      B: rows(random, bc),
      C: rows(random, bc),
    },
    options: { discretisation, ...(kernel === 'ssd' ? { nHeads: channels, nGroups: 1 } : {}) },
  };
}

onEveryBackend('discretisation', (backend) => {
  for (const kernel of ['selectiveScan', 'ssd'] as const) {
    it(`${kernel}: zero-order hold approaches exponential–Euler in proportion to dt`, async () => {
      const difference = async (dt: number) => {
        const [euler] = await execute(backend, scanCall(kernel, dt, 'euler'), CONTIGUOUS);
        const [zoh] = await execute(backend, scanCall(kernel, dt, 'zoh'), CONTIGUOUS);
        return relativeErrors(zoh.out, euler.out).relative;
      };
      const [coarse, middle, fine] = [await difference(0.4), await difference(0.04), await difference(0.004)];
      // With A near −1 the input weights differ by a factor 1 − dt/2 + …
      expect(coarse).toBeGreaterThan(0.1);
      expect(middle / coarse).toBeCloseTo(0.1, 1);
      expect(fine / middle).toBeGreaterThan(0.08);
      expect(fine / middle).toBeLessThan(0.12);
    });
  }

  for (const discretisation of ['euler', 'zoh'] as const) {
    it(`a time-invariant scan is a convolution (${discretisation})`, async () => {
      const config = { ...timeInvariant, discretisation };
      const specs = mamba1Parameters(config);
      const layerCase = { name: '', dModel: 6, specs, make: (lookup: Weights) => new Mamba1Mixer(config, lookup) };
      const weights = weightsOf(layerCase);
      const of = (name: string) => weights.get(name) as Float32Array;
      const { parameters } = build(backend, layerCase, weights);
      const mixer = layerCase.make(parameters.lookup);
      const x = sequences(new Random(9), 3, 37, 6);
      const input = upload(backend, x);
      const lengths = uploadLengths(backend, [37, 11, 0]);
      const residual = upload(backend, sequences(new Random(10), 3, 37, 6));
      const [A_log, B, C, D, dt_bias] = ['A_log', 'B', 'C', 'D', 'dt_bias'].map(of);
      const kernel = backend.alloc([config.dInner, 37]);
      backend.write(kernel, convolutionKernel(config, { A_log, B, C, D, dt_bias }, 37));
      const graph = new Graph(backend);
      const convolved = await backend.read(mixer.asConvolution(graph, input, kernel, { lengths, residual }));
      const scanned = await backend.read(mixer.scan(graph, input, { lengths, residual }));
      expectClose(convolved, scanned, backend.name === 'reference' ? 1e-12 : 1e-5, 'outputs');
      parameters.free();
    });
  }
});
