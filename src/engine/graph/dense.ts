/** Operations on rows: products, look-ups, norms and element-wise functions. */
import type { Activation, UnaryFunction } from '../kernels.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../tensor.js';
import { check, GraphCore } from './core.js';

export abstract class DenseOperations extends GraphCore {
  /** x [..., K] · weightᵀ + bias → [..., N]; weight [N, K]. `residual` [..., N] is added after the activation. */
  linear(
    x: Tensor,
    weight: Tensor,
    options: { bias?: Tensor; residual?: Tensor; activation?: Activation } = {},
  ): Tensor {
    const [n, k] = [rowsOf(weight), columnsOf(weight)];
    check(columnsOf(x) === k, 'linear', `x [${x.shape}] with weight [${weight.shape}]`);
    const { bias, residual, activation = 'none' } = options;
    const { precision } = this;
    if (this.tape.taping && activation !== 'none' && (this.tape.wants(x) || this.tape.wants(weight))) {
      // The gradient needs the value before the activation: do it as an operation of its own.
      const y = this.unary(this.linear(x, weight, { bias }), activation);
      return residual ? this.binary(y, residual, 'add') : y;
    }
    const out = this.alloc([...x.shape.slice(0, -1), n]);
    this.kernels.matmul({ out, a: x, b: weight, transposeB: true, bias, residual, activation, precision });
    this.tape.record([x, weight, bias, residual], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      if (this.tape.wants(x)) {
        const d = this.tape.destination(x);
        this.kernels.matmul({ out: d.tensor, a: dOut, b: weight, accumulate: d.occupied, precision });
        d.finish();
      }
      if (this.tape.wants(weight)) {
        const d = this.tape.destination(weight);
        this.kernels.matmul({ out: d.tensor, a: dOut, b: x, transposeA: true, accumulate: d.occupied, precision });
        d.finish();
      }
      if (bias && this.tape.wants(bias)) {
        const d = this.tape.destination(bias);
        this.kernels.columnSum(d.tensor, dOut, d.occupied);
        d.finish();
      }
      if (residual && this.tape.wants(residual)) this.tape.passOn(out, residual);
    });
    return out;
  }

  /** Rows of `table` [vocabulary, width] by `ids` [...] i32 → [..., width]. */
  embedding(ids: Tensor, table: Tensor): Tensor {
    const out = this.alloc([...ids.shape, columnsOf(table)]);
    this.kernels.embedding({ out, ids, table });
    this.tape.record([table], [out], [ids], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const d = this.tape.destination(table);
      this.kernels.embeddingBackward({ dTable: d.tensor, dOut, ids, accumulate: d.occupied });
      d.finish();
    });
    return out;
  }

  /** x / rms(x) · weight over the last dimension (Zhang & Sennrich 2019). */
  rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
    check(columnsOf(x) === sizeOf(weight.shape), 'rmsNorm', `x [${x.shape}] with weight [${weight.shape}]`);
    const out = this.alloc(x.shape);
    this.kernels.rmsNorm({ out, x, weight, eps });
    this.tape.record([x, weight], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.destination(x);
      const dWeight = this.tape.exclusive(weight);
      const args = { dX: dX.tensor, dWeight: dWeight.tensor, dOut, x, weight, eps };
      this.kernels.rmsNormBackward({ ...args, accumulate: dX.occupied });
      dX.finish();
      dWeight.finish();
    });
    return out;
  }

  /** RMS norm of x·silu(z) in groups of `groupSize` columns, times weight: the norm inside a Mamba-2 mixer. */
  gatedRmsNorm(x: Tensor, z: Tensor, weight: Tensor, eps: number, groupSize: number): Tensor {
    check(
      columnsOf(x) === columnsOf(z) && columnsOf(x) % groupSize === 0,
      'gatedRmsNorm',
      `x [${x.shape}], z [${z.shape}], groups of ${groupSize}`,
    );
    const out = this.alloc(x.shape);
    this.kernels.gatedRmsNorm({ out, x, z, weight, eps, groupSize });
    this.tape.record([x, z, weight], [out], [x, z], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      const dZ = this.tape.exclusive(z);
      const dWeight = this.tape.exclusive(weight);
      const targets = { dX: dX.tensor, dZ: dZ.tensor, dWeight: dWeight.tensor };
      this.kernels.gatedRmsNormBackward({ ...targets, dOut, x, z, weight, eps, groupSize });
      for (const d of [dX, dZ, dWeight]) d.finish();
    });
    return out;
  }

  /** silu(first half) · second half of the last dimension (Shazeer 2020). */
  swiglu(x: Tensor): Tensor {
    check(columnsOf(x) % 2 === 0, 'swiglu', `an odd number of columns in [${x.shape}]`);
    const out = this.alloc([...x.shape.slice(0, -1), columnsOf(x) / 2]);
    this.kernels.swiglu({ out, x });
    this.tape.record([x], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      this.kernels.swigluBackward({ dX: dX.tensor, dOut, x });
      dX.finish();
    });
    return out;
  }

  unary(x: Tensor, fn: UnaryFunction): Tensor {
    const out = this.alloc(x.shape);
    this.kernels.unary({ out, x, fn });
    this.tape.record([x], [out], [x], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      const dX = this.tape.exclusive(x);
      this.kernels.unaryBackward({ dX: dX.tensor, dOut, x, fn });
      dX.finish();
    });
    return out;
  }

  /** Element-wise a + b or a·b of equal shapes. */
  binary(a: Tensor, b: Tensor, fn: 'add' | 'mul'): Tensor {
    check(
      sizeOf(a.shape) === sizeOf(b.shape) && columnsOf(a) === columnsOf(b),
      'binary',
      `[${a.shape}] with [${b.shape}]`,
    );
    const out = this.alloc(a.shape);
    this.kernels.binary({ out, a, b, fn });
    this.tape.record([a, b], [out], fn === 'mul' ? [a, b] : [], () => {
      const dOut = this.tape.gradient(out);
      if (!dOut) return;
      if (fn === 'add') {
        if (this.tape.wants(a)) this.accumulate(a, dOut);
        if (this.tape.wants(b)) this.tape.passOn(out, b);
        return;
      }
      if (this.tape.wants(a)) this.product(a, dOut, b);
      if (this.tape.wants(b)) this.product(b, dOut, a);
    });
    return out;
  }

  private product(t: Tensor, dOut: Tensor, other: Tensor): void {
    const d = this.tape.exclusive(t);
    this.kernels.binary({ out: d.tensor, a: dOut, b: other, fn: 'mul' });
    d.finish();
  }
}
