/**
 * Gradient-boosted trees for one probability (Friedman 2001; histograms and second-order steps as in Chen & Guestrin
 * 2016). A floor for benchmarks: small, deterministic, no more options than are used.
 */
export interface BoostingOptions {
  trees?: number;
  depth?: number;
  rate?: number;
  /** Ridge on leaf values. */
  lambda?: number;
  /** Fewest rows of a leaf, as a sum of hessians. */
  minWeight?: number;
}

const BUCKETS = 64;

interface Tree {
  /** Feature of each inner node, −1 where it passes everything left. Nodes in heap order. */
  feature: Int32Array;
  threshold: Float64Array;
  leaf: Float64Array;
}

export class Boosting {
  private constructor(
    private readonly columns: number,
    private readonly depth: number,
    private readonly base: number,
    private readonly trees: readonly Tree[],
  ) {}

  /** @param x [rows, columns]; @param y 0/1 a row */
  static fit(x: Float32Array, columns: number, y: ArrayLike<number>, options: BoostingOptions = {}): Boosting {
    const { trees: treeCount = 80, depth = 4, rate = 0.15, lambda = 1, minWeight = 20 } = options;
    const rows = y.length;
    const { cuts, codes } = bucketed(x, rows, columns);
    let positives = 0;
    for (let i = 0; i < rows; i++) positives += y[i];
    const base = Math.log((positives + 0.5) / (rows - positives + 0.5));
    const score = new Float64Array(rows).fill(base);
    const gradient = new Float64Array(rows);
    const hessian = new Float64Array(rows);
    const node = new Uint16Array(rows);
    const trees: Tree[] = [];
    for (let n = 0; n < treeCount; n++) {
      for (let i = 0; i < rows; i++) {
        const p = 1 / (1 + Math.exp(-score[i]));
        gradient[i] = y[i] - p;
        hessian[i] = p * (1 - p);
      }
      const tree: Tree = {
        feature: new Int32Array(2 ** depth - 1).fill(-1),
        threshold: new Float64Array(2 ** depth - 1).fill(Number.POSITIVE_INFINITY),
        leaf: new Float64Array(2 ** depth),
      };
      node.fill(0);
      for (let level = 0; level < depth; level++) {
        const first = 2 ** level - 1;
        const width = 2 ** level;
        const cutCode = new Int32Array(width).fill(BUCKETS);
        splitLevel(
          codes,
          columns,
          rows,
          gradient,
          hessian,
          node,
          first,
          width,
          lambda,
          minWeight,
          (at, feature, code) => {
            tree.feature[first + at] = feature;
            tree.threshold[first + at] = cuts[feature][code];
            cutCode[at] = code;
          },
        );
        for (let i = 0; i < rows; i++) {
          const at = node[i] - first;
          const feature = tree.feature[first + at];
          const right = feature >= 0 && codes[i * columns + feature] > cutCode[at] ? 1 : 0;
          node[i] = 2 * node[i] + 1 + right;
        }
      }
      const firstLeaf = 2 ** depth - 1;
      const g = new Float64Array(2 ** depth);
      const h = new Float64Array(2 ** depth);
      for (let i = 0; i < rows; i++) {
        g[node[i] - firstLeaf] += gradient[i];
        h[node[i] - firstLeaf] += hessian[i];
      }
      for (let k = 0; k < g.length; k++) tree.leaf[k] = (rate * g[k]) / (h[k] + lambda);
      for (let i = 0; i < rows; i++) score[i] += tree.leaf[node[i] - firstLeaf];
      trees.push(tree);
    }
    return new Boosting(columns, depth, base, trees);
  }

  /** Probability of the row that starts at `offset` of `x`. */
  predict(x: ArrayLike<number>, offset = 0): number {
    let score = this.base;
    const inner = 2 ** this.depth - 1;
    for (const tree of this.trees) {
      let at = 0;
      while (at < inner) {
        const feature = tree.feature[at];
        at = 2 * at + 1 + (feature >= 0 && x[offset + feature] > tree.threshold[at] ? 1 : 0);
      }
      score += tree.leaf[at - inner];
    }
    return 1 / (1 + Math.exp(-score));
  }

  /** Probabilities of all rows of `x` [rows, columns]. */
  predictAll(x: Float32Array): Float64Array {
    return Float64Array.from({ length: x.length / this.columns }, (_, i) => this.predict(x, i * this.columns));
  }
}

/** Cut points at quantiles of each column (of at most 20,000 rows), and the bucket of every value. */
function bucketed(x: Float32Array, rows: number, columns: number) {
  const step = Math.max(1, Math.floor(rows / 20_000));
  const cuts: Float64Array[] = [];
  const codes = new Uint8Array(rows * columns);
  for (let c = 0; c < columns; c++) {
    const sample: number[] = [];
    for (let i = 0; i < rows; i += step) sample.push(x[i * columns + c]);
    sample.sort((a, b) => a - b);
    const unique = new Set<number>();
    for (let k = 1; k < BUCKETS; k++) unique.add(sample[Math.floor((k * sample.length) / BUCKETS)]);
    const list = Float64Array.from([...unique].sort((a, b) => a - b));
    cuts.push(list);
    for (let i = 0; i < rows; i++) {
      const value = x[i * columns + c];
      let low = 0;
      let high = list.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (list[middle] < value) low = middle + 1;
        else high = middle;
      }
      codes[i * columns + c] = low;
    }
  }
  return { cuts, codes };
}

/** Best split of every node of a level: the largest gain of the second-order objective. */
function splitLevel(
  codes: Uint8Array,
  columns: number,
  rows: number,
  gradient: Float64Array,
  hessian: Float64Array,
  node: Uint16Array,
  first: number,
  width: number,
  lambda: number,
  minWeight: number,
  found: (node: number, feature: number, code: number) => void,
): void {
  const size = columns * BUCKETS;
  const g = new Float64Array(width * size);
  const h = new Float64Array(width * size);
  for (let i = 0; i < rows; i++) {
    const at = (node[i] - first) * size;
    const gi = gradient[i];
    const hi = hessian[i];
    for (let c = 0, row = i * columns; c < columns; c++) {
      const k = at + c * BUCKETS + codes[row + c];
      g[k] += gi;
      h[k] += hi;
    }
  }
  const value = (a: number, b: number) => (a * a) / (b + lambda);
  for (let n = 0; n < width; n++) {
    let best = { gain: 1e-6, feature: -1, code: 0 };
    let totalG = 0;
    let totalH = 0;
    for (let k = 0; k < BUCKETS; k++) {
      totalG += g[n * size + k];
      totalH += h[n * size + k];
    }
    for (let c = 0; c < columns; c++) {
      let leftG = 0;
      let leftH = 0;
      for (let k = 0; k + 1 < BUCKETS; k++) {
        leftG += g[n * size + c * BUCKETS + k];
        leftH += h[n * size + c * BUCKETS + k];
        if (leftH < minWeight || totalH - leftH < minWeight) continue;
        const gain = value(leftG, leftH) + value(totalG - leftG, totalH - leftH) - value(totalG, totalH);
        if (gain > best.gain) best = { gain, feature: c, code: k };
      }
    }
    if (best.feature >= 0) found(n, best.feature, best.code);
  }
}
