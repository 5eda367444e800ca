/**
 * What stands between the network's answer and the user: a chain of forecasters, each part optional and each measured
 * (`adder evaluate --ablation`, docs/quality.md).
 *
 *   limits( levels( short( calibration( views and baselines( flip( network ))))))
 *
 * The parts work at STANDARD_LEVELS; the levels asked for are read off nearly at the end: a tail may pass a limit.
 */

import { AdderError, quote } from '../../platform/errors.js';
import { checkRequest } from '../baselines/local.js';
import { type Forecaster, type ForecastRequest, type ForecastResult, STANDARD_LEVELS } from '../forecaster.js';
import { makeMonotone, quantilesAt } from '../quantiles.js';
import { Calibrated, type Factors } from './calibration.js';
import { FlipAverage } from './flip.js';
import { withinLimits } from './limits.js';
import { BacktestMixture } from './mixture.js';
import { ShortFallback } from './short.js';

/** Parts by the names that commands take, in the order in which they are put on. */
export const STACK_PARTS = ['flip', 'views', 'baselines', 'calibration', 'limits', 'short'] as const;
export type StackPart = (typeof STACK_PARTS)[number];

/**
 * On unless a model says otherwise. Flipping and calibration gained nothing on held-out series: flipping costs as much as
 * the network, and factors fitted on some datasets made others worse, because the network is calibrated as it is.
 */
export const DEFAULT_PARTS: readonly StackPart[] = ['views', 'baselines', 'limits', 'short'];

const PART_ABOUT: Record<StackPart, string> = {
  flip: 'mean with the mirrored forecast of the mirrored series',
  views: 'other seasons and samplings of the same series, weighted by a backtest',
  baselines: 'Theta, ETS, seasonal naive and Croston, weighted by the same backtest',
  calibration: 'quantiles widened by factors fitted on held-out training series',
  limits: 'nothing below zero, and whole numbers, where the history is so',
  short: 'a random walk after one or two observations',
};

/** Lines for `--help`. */
export function describeStack(): string {
  return STACK_PARTS.map((part) => `      ${part.padEnd(15)} ${PART_ABOUT[part]}`).join('\n');
}

/** What `--stack` (or `field`) says: `bare` for none, else parts with commas between. @throws AdderError `BAD_OPTION` */
export function parseStack(text: string | undefined, field = '--stack'): StackPart[] | undefined {
  if (text === undefined) return undefined;
  if (text === 'bare') return [];
  const parts = text.split(',').map((part) => part.trim());
  const wrong = parts.find((part) => !(STACK_PARTS as readonly string[]).includes(part));
  if (wrong === undefined) return parts as StackPart[];
  throw new AdderError({
    code: 'BAD_OPTION',
    message: `the stack has no part ${quote(wrong)}`,
    where: { field },
    fix: `use bare, or some of ${STACK_PARTS.join(', ')}`,
  });
}

/** A forecaster, usually the bare network, and its stack. */
export class StackedForecaster<Bare extends Forecaster = Forecaster> implements Forecaster {
  readonly id: string;
  private readonly chain: Forecaster;

  constructor(
    readonly bare: Bare,
    readonly parts: readonly StackPart[],
    readonly factors: Factors = {},
  ) {
    const has = (part: StackPart) => parts.includes(part);
    let chain: Forecaster = bare;
    if (has('flip')) chain = new FlipAverage(chain);
    if (has('views') || has('baselines')) {
      chain = new BacktestMixture(chain, { views: has('views'), baselines: has('baselines') });
    }
    if (has('calibration') && Object.keys(factors).length > 0) chain = new Calibrated(chain, factors);
    if (has('short')) chain = new ShortFallback(chain);
    this.chain = chain;
    this.id = bare.id;
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    if (this.parts.length === 0) return this.bare.forecast(requests);
    requests.forEach(checkRequest);
    const standard = requests.map((request) => ({ ...request, quantiles: [...STANDARD_LEVELS] }));
    const results = await this.chain.forecast(standard);
    return results.map(({ quantiles }, i) => {
      const values = quantilesAt(STANDARD_LEVELS, makeMonotone(quantiles), requests[i]!.quantiles);
      return { quantiles: this.parts.includes('limits') ? withinLimits(requests[i]!.history, values) : values };
    });
  }

  async close(): Promise<void> {
    await this.bare.close?.();
  }
}
