/**
 * A weighted mean of the quantiles of several candidates, weighted by how well each would have forecast the end of the
 * history. Candidates are views of the inner forecaster and statistical methods.
 *
 * The last min(horizon, third) values are held out, every candidate forecasts them, and with L its mean quantile loss
 * there and L₀ that of the forecaster as it is,
 *
 *     weight ∝ prior · ((L + ε L₀) / (L₀ + ε L₀))^(−β)
 *
 * One backtest is a small sample: ε keeps a lucky candidate from taking all, and the priors say how much is believed of
 * a candidate that does as well as the forecaster. The numbers were chosen on held-out training series that nothing in
 * training resembles (docs/quality.md), never on development data.
 */
import { sba } from '../baselines/croston.js';
import { ets } from '../baselines/ets.js';
import type { LocalMethod } from '../baselines/local.js';
import { seasonalNaive } from '../baselines/naive.js';
import { theta } from '../baselines/theta.js';
import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';
import { pinball } from '../metrics.js';
import { makeMonotone } from '../quantiles.js';
import { type Asked, adjusted, averaged, phases, plain, thinned, type View, weekly } from './views.js';

interface Candidate {
  name: string;
  prior: number;
  /** How the inner forecaster is asked; absent for a statistical method. */
  view?: View;
  /** Undefined where the method does not apply. */
  method?: (request: ForecastRequest) => ForecastResult | undefined;
}

/** Sharpness of the weights, and the share of the forecaster's own loss that is added to every loss. */
const BETA = 6;
const EPSILON = 0.7;

const VIEWS: Candidate[] = [
  { name: 'weekly season', prior: 1, view: weekly },
  { name: 'phases', prior: 2, view: phases },
  { name: 'thinned', prior: 1, view: thinned },
  { name: 'averaged', prior: 0.2, view: averaged },
  { name: 'adjusted', prior: 0.5, view: adjusted },
];

/** Values that a statistical method of a mixture looks at: its cost is to stay a share of the network's. */
const RECENT = 400;
/** Share of zeros from which demand counts as intermittent. */
const INTERMITTENT = 0.3;

const recent =
  (method: LocalMethod, values = RECENT) =>
  (request: ForecastRequest) => {
    const { history } = request;
    const part = history.subarray(Math.max(0, history.length - Math.max(values, 3 * request.season)));
    return part.some(Number.isFinite) ? method({ ...request, history: part }) : undefined;
  };

const BASELINES: Candidate[] = [
  { name: 'theta', prior: 0.05, method: recent(theta) },
  { name: 'ets', prior: 0.05, method: (request) => (request.season <= 60 ? recent(ets)(request) : undefined) },
  { name: 'seasonal naive', prior: 0.05, method: recent(seasonalNaive, 2000) },
  { name: 'croston', prior: 0.5, method: (request) => (isIntermittent(request.history) ? sba(request) : undefined) },
];

/** Observations before the backtest from which one is made. */
const FEWEST = 6;
/** Requests put to the inner forecaster at once. */
const CHUNK = 256;

export interface MixtureOptions {
  views: boolean;
  baselines: boolean;
}

export class BacktestMixture implements Forecaster {
  readonly id: string;
  private readonly candidates: Candidate[];

  constructor(
    private readonly inner: Forecaster,
    { views, baselines }: MixtureOptions,
  ) {
    this.id = inner.id;
    this.candidates = [
      { name: 'forecaster', prior: 1, view: plain },
      ...(views ? VIEWS : []),
      ...(baselines ? BASELINES : []),
    ];
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const out: ForecastResult[] = [];
    for (let from = 0; from < requests.length; from += CHUNK) {
      out.push(...(await this.chunk(requests.slice(from, from + CHUNK))));
    }
    return out;
  }

  private async chunk(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const asks: ForecastRequest[] = [];
    const plans = requests.map((request) => {
      const backtest = backtestOf(request);
      const all = this.candidates.map((candidate) => new Entry(candidate, request, backtest));
      // Without anything to choose from there is nothing to be backtested.
      const entries = all.filter((entry, i) => i === 0 || (backtest && entry.applies));
      const tested = entries.length > 1 ? backtest : undefined;
      for (const entry of entries) entry.ask(asks, tested !== undefined);
      return { request, entries, backtest: tested };
    });
    const results = await this.inner.forecast(asks);
    return plans.map(({ request, entries, backtest }) => {
      const forecasts = entries.map((entry) => entry.answer(results));
      if (!backtest) return { quantiles: forecasts[0]! };
      const losses = entries.map((entry) =>
        meanLoss(backtest.actual, entry.answerBacktest(results), request.quantiles),
      );
      return {
        quantiles: combine(
          forecasts,
          weightsOf(
            losses,
            entries.map((entry) => entry.candidate.prior),
          ),
        ),
      };
    });
  }

  async close(): Promise<void> {
    await this.inner.close?.();
  }
}

/** One candidate's forecast of a request and of its backtest: asked of the inner forecaster, or computed. */
class Entry {
  readonly applies: boolean;
  private readonly main: Asked | undefined;
  private readonly back: Asked | undefined;
  private readonly computed: Float64Array[] | undefined;
  private readonly computedBack: Float64Array[] | undefined;
  private mainAt = 0;
  private backAt = 0;

  constructor(
    readonly candidate: Candidate,
    request: ForecastRequest,
    backtest: Backtest | undefined,
  ) {
    const { view, method } = candidate;
    this.main = view?.(request);
    this.back = backtest && view?.(backtest.request);
    if (method && backtest) {
      this.computed = method(request)?.quantiles;
      this.computedBack = method(backtest.request)?.quantiles;
    }
    this.applies = (this.main && this.back) !== undefined || (this.computed && this.computedBack) !== undefined;
  }

  ask(asks: ForecastRequest[], backtest: boolean): void {
    this.mainAt = asks.length;
    if (this.main) asks.push(...this.main.requests);
    this.backAt = asks.length;
    if (this.back && backtest) asks.push(...this.back.requests);
  }

  answer(results: readonly ForecastResult[]): Float64Array[] {
    return makeMonotone(this.computed ?? answered(this.main!, results, this.mainAt));
  }

  answerBacktest(results: readonly ForecastResult[]): Float64Array[] {
    return makeMonotone(this.computedBack ?? answered(this.back!, results, this.backAt));
  }
}

function answered(asked: Asked, results: readonly ForecastResult[], at: number): Float64Array[] {
  return asked.combine(results.slice(at, at + asked.requests.length));
}

interface Backtest {
  request: ForecastRequest;
  actual: Float64Array;
}

/** The request as it would have been min(horizon, third of the history) steps ago; undefined where too little was known. */
function backtestOf(request: ForecastRequest): Backtest | undefined {
  const { history, horizon } = request;
  const steps = Math.min(horizon, Math.floor(history.length / 3));
  const cut = history.length - steps;
  const seen = (values: Float64Array) => values.reduce((n, v) => n + (Number.isNaN(v) ? 0 : 1), 0);
  if (steps < 1 || seen(history.subarray(0, cut)) < FEWEST || seen(history.subarray(cut)) === 0) return undefined;
  return {
    request: { ...request, history: history.subarray(0, cut), horizon: steps },
    actual: history.subarray(cut),
  };
}

function meanLoss(actual: Float64Array, quantiles: Float64Array[], levels: readonly number[]): number {
  let sum = 0;
  let count = 0;
  for (let t = 0; t < actual.length; t++) {
    if (Number.isNaN(actual[t]!)) continue;
    for (let q = 0; q < levels.length; q++) sum += pinball(actual[t]!, quantiles[q]![t]!, levels[q]!);
    count++;
  }
  return sum / (count * levels.length);
}

/** Weights that sum to one; the first loss is the forecaster's own. */
export function weightsOf(losses: readonly number[], priors: readonly number[]): number[] {
  const own = losses[0]!;
  // A perfect backtest says that the series is trivial, not that the others are infinitely worse.
  const scale = Math.max(own, 1e-9 * losses.reduce((a, b) => Math.max(a, Number.isFinite(b) ? b : 0), 0));
  const raw = losses.map((loss, i) =>
    scale === 0 ? priors[i]! : priors[i]! * ((loss + EPSILON * scale) / ((1 + EPSILON) * scale)) ** -BETA,
  );
  const usable = raw.map((w) => (Number.isFinite(w) ? w : 0));
  const total = usable.reduce((a, b) => a + b, 0);
  return usable.map((w) => w / total);
}

function combine(forecasts: readonly Float64Array[][], weights: readonly number[]): Float64Array[] {
  return forecasts[0]!.map((first, q) => {
    const out = new Float64Array(first.length);
    forecasts.forEach((forecast, c) => {
      // A candidate without weight may hold what is not finite.
      if (weights[c] === 0) return;
      for (let t = 0; t < out.length; t++) out[t]! += weights[c]! * forecast[q]![t]!;
    });
    return out;
  });
}

function isIntermittent(history: Float64Array): boolean {
  let zeros = 0;
  let seen = 0;
  for (const v of history) {
    if (Number.isNaN(v)) continue;
    seen++;
    if (v === 0) zeros++;
  }
  return zeros > INTERMITTENT * seen;
}
