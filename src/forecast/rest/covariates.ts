/** A column of numbers that may explain a series. */
export interface CovariateColumn {
  name: string;
  /** The covariate of the request that this column is a part of, where it is a category. */
  source?: string;
  /** History, then (where `known`) the steps of the horizon. NaN is unknown. */
  values: Float64Array;
  /** Known over the horizon; otherwise it has to be forecast. */
  known: boolean;
}

/** What ridge regression found in the history of one series. */
export interface CovariateFit {
  /** Change of the series with a change of one of each column. */
  coefficients: Float64Array;
  /** Means of the columns over the history: the level that effects are measured from. */
  means: Float64Array;
}

/** Penalties tried, in units of the number of rows; the last stands for no effect at all. */
const PENALTIES = [1e-4, 1e-3, 1e-2, 0.1, 1, 10, Number.POSITIVE_INFINITY];

/** Pairs of sine and cosine that describe the season while the effects are measured. */
const HARMONICS = 3;

/**
 * Effects of covariates on a series by ridge regression: y = trend + season + Xβ + noise. Trend and season (a few harmonics)
 * are taken out of y and of X by least squares first (Frisch-Waugh-Lovell), so a covariate that merely grows with the series
 * explains nothing; the columns are standardised, and the penalty is the one with the least generalised cross-validation
 * error, "no effect" included.
 *
 * The forecaster then forecasts y − Xβ, and the effect of the future X is added to what it says.
 */
export function fitCovariates(y: Float64Array, columns: readonly Float64Array[], season: number): CovariateFit {
  const p = columns.length;
  const rows: number[] = [];
  for (let t = 0; t < y.length; t++) {
    if (!Number.isNaN(y[t]!) && columns.every((column) => !Number.isNaN(column[t]!))) rows.push(t);
  }
  const means = Float64Array.from(columns, (column) => meanOf(column, rows));
  const none = { coefficients: new Float64Array(p), means };
  const nuisance = nuisanceColumns(rows, y.length, season);
  const n = rows.length;
  if (p === 0 || n < nuisance.length + 4) return none;
  const scale = maxAbs(y, rows);
  if (scale === 0) return none;
  const basis = orthonormal(nuisance);
  const target = residual(
    Float64Array.from(rows, (t) => y[t]! / scale),
    basis,
  );
  const spreads = new Float64Array(p);
  const designs = columns.map((column, j) => {
    const unit = maxAbs(column, rows) || 1;
    const part = residual(
      Float64Array.from(rows, (t) => column[t]! / unit),
      basis,
    );
    const spread = Math.sqrt(dot(part, part) / n);
    // What trend and season explain completely has no effect of its own.
    spreads[j] = spread > 1e-8 ? spread * unit : 0;
    return spread > 1e-8 ? part.map((value) => value / spread) : new Float64Array(n);
  });
  const gram = designs.map((a) => Float64Array.from(designs, (b) => dot(a, b)));
  const moment = Float64Array.from(designs, (a) => dot(a, target));
  const { values: eigen, vectors } = symmetricEigen(gram);
  const rotated = vectors.map((vector) => dot(vector, moment));
  const total = dot(target, target);
  let best = { error: Number.POSITIVE_INFINITY, beta: new Float64Array(p) };
  for (const penalty of PENALTIES) {
    const beta = new Float64Array(p);
    let freedom = basis.length;
    let explained = 0;
    eigen.forEach((value, k) => {
      if (value < 1e-10 * n || penalty === Number.POSITIVE_INFINITY) return;
      const shrunk = value + penalty * n;
      const weight = rotated[k]! / shrunk;
      freedom += value / shrunk;
      explained += 2 * weight * rotated[k]! - weight * weight * value;
      for (let j = 0; j < p; j++) beta[j]! += weight * vectors[k]![j]!;
    });
    if (n - freedom < 1) continue;
    const error = Math.max(0, total - explained) / (n - freedom) ** 2;
    if (error < best.error) best = { error, beta };
  }
  const coefficients = best.beta.map((b, j) => (spreads[j]! > 0 ? (b / spreads[j]!) * scale : 0));
  return { coefficients, means };
}

/** Σ β (x − mean) at each step of [from, from + count); an unknown value counts as the mean. */
export function effectOf(
  fit: CovariateFit,
  columns: readonly Float64Array[],
  from: number,
  count: number,
): Float64Array {
  const out = new Float64Array(count);
  columns.forEach((column, j) => {
    const beta = fit.coefficients[j]!;
    if (beta === 0) return;
    for (let i = 0; i < count; i++) {
      const x = column[from + i]!;
      if (!Number.isNaN(x)) out[i]! += beta * (x - fit.means[j]!);
    }
  });
  return out;
}

/** Constant, straight line, and harmonics of the season, at the given steps. */
function nuisanceColumns(rows: readonly number[], length: number, season: number): Float64Array[] {
  const columns = [Float64Array.from(rows, () => 1), Float64Array.from(rows, (t) => t / length - 0.5)];
  if (season < 2 || rows.length < 2 * season) return columns;
  const harmonics = Math.min(HARMONICS, Math.floor(season / 2));
  for (let k = 1; k <= harmonics; k++) {
    const turn = (2 * Math.PI * k) / season;
    columns.push(Float64Array.from(rows, (t) => Math.cos(turn * t)));
    if (2 * k < season) columns.push(Float64Array.from(rows, (t) => Math.sin(turn * t)));
  }
  return columns;
}

/** Gram-Schmidt, twice for accuracy; columns that depend on others are dropped. */
function orthonormal(columns: readonly Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const column of columns) {
    const rest = residual(residual(column, basis), basis);
    const norm = Math.sqrt(dot(rest, rest));
    if (norm > 1e-9 * Math.sqrt(column.length)) basis.push(rest.map((value) => value / norm));
  }
  return basis;
}

function residual(values: Float64Array, basis: readonly Float64Array[]): Float64Array {
  const out = values.slice();
  for (const direction of basis) {
    const share = dot(direction, out);
    for (let i = 0; i < out.length; i++) out[i]! -= share * direction[i]!;
  }
  return out;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

const meanOf = (column: Float64Array, rows: readonly number[]) =>
  rows.length === 0 ? 0 : rows.reduce((sum, t) => sum + column[t]! / rows.length, 0);

const maxAbs = (column: Float64Array, rows: readonly number[]) =>
  rows.reduce((most, t) => Math.max(most, Math.abs(column[t]!)), 0);

/** Eigenvalues and unit eigenvectors of a small symmetric matrix, by Jacobi rotations. */
function symmetricEigen(matrix: readonly Float64Array[]): { values: number[]; vectors: Float64Array[] } {
  const p = matrix.length;
  const a = matrix.map((row) => row.slice());
  const v = a.map((_, i) => Float64Array.from({ length: p }, (_, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    let diagonal = 0;
    for (let i = 0; i < p; i++) {
      diagonal += a[i]![i]! ** 2;
      for (let j = 0; j < i; j++) off += a[i]![j]! ** 2;
    }
    if (off <= 1e-24 * diagonal) break;
    for (let i = 0; i < p; i++) for (let j = i + 1; j < p; j++) rotate(a, v, i, j);
  }
  return { values: a.map((row, i) => row[i]!), vectors: v.map((_, k) => Float64Array.from(v, (row) => row[k]!)) };
}

function rotate(a: Float64Array[], v: Float64Array[], i: number, j: number): void {
  const off = a[i]![j]!;
  if (off === 0) return;
  const theta = (a[j]![j]! - a[i]![i]!) / (2 * off);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (const row of a) [row[i], row[j]] = [c * row[i]! - s * row[j]!, s * row[i]! + c * row[j]!];
  for (let k = 0; k < a.length; k++) {
    [a[i]![k], a[j]![k]] = [c * a[i]![k]! - s * a[j]![k]!, s * a[i]![k]! + c * a[j]![k]!];
  }
  for (const row of v) [row[i], row[j]] = [c * row[i]! - s * row[j]!, s * row[i]! + c * row[j]!];
}
