/** Ridge regression of several outputs at once, from accumulated normal equations. */
export class Ridge {
  private readonly gram: Float64Array;
  private readonly moments: Float64Array;
  private readonly size: number;

  /** @param inputs without the constant, which is added and not penalised */
  constructor(
    readonly inputs: number,
    readonly outputs: number,
  ) {
    this.size = inputs + 1;
    this.gram = new Float64Array(this.size * this.size);
    this.moments = new Float64Array(this.size * outputs);
  }

  /** Takes one row of inputs (from `xAt`) and one of outputs (from `yAt`). */
  add(x: ArrayLike<number>, xAt: number, y: ArrayLike<number>, yAt: number): void {
    const { size, inputs, outputs, gram, moments } = this;
    for (let i = 0; i < size; i++) {
      const xi = i < inputs ? x[xAt + i] : 1;
      const row = i * size;
      // Lower triangle only.
      for (let j = 0; j < Math.min(i + 1, inputs); j++) gram[row + j] += xi * x[xAt + j];
      if (i === inputs) gram[row + inputs] += 1;
      const out = i * outputs;
      for (let k = 0; k < outputs; k++) moments[out + k] += xi * y[yAt + k];
    }
  }

  /** [inputs + 1, outputs] weights, the constant last: (XᵀX + λI)⁻¹XᵀY by Cholesky factorisation. */
  solve(lambda: number): Float64Array {
    const { size, inputs, outputs } = this;
    const l = this.gram.slice();
    for (let i = 0; i < inputs; i++) l[i * size + i] += lambda;
    for (let j = 0; j < size; j++) {
      for (let i = j; i < size; i++) {
        let sum = l[i * size + j];
        for (let k = 0; k < j; k++) sum -= l[i * size + k] * l[j * size + k];
        if (i === j) {
          if (!(sum > 0)) throw new RangeError('the normal equations are singular: use a larger lambda');
          l[i * size + i] = Math.sqrt(sum);
        } else l[i * size + j] = sum / l[j * size + j];
      }
    }
    const w = this.moments.slice();
    for (let i = 0; i < size; i++) {
      for (let k = 0; k < i; k++) {
        const f = l[i * size + k];
        for (let o = 0; o < outputs; o++) w[i * outputs + o] -= f * w[k * outputs + o];
      }
      for (let o = 0; o < outputs; o++) w[i * outputs + o] /= l[i * size + i];
    }
    for (let i = size - 1; i >= 0; i--) {
      for (let k = i + 1; k < size; k++) {
        const f = l[k * size + i];
        for (let o = 0; o < outputs; o++) w[i * outputs + o] -= f * w[k * outputs + o];
      }
      for (let o = 0; o < outputs; o++) w[i * outputs + o] /= l[i * size + i];
    }
    return w;
  }
}
