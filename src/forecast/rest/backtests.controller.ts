import { Body, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { withDeadline } from '../../http/deadline.js';
import { openApiSchema } from '../../http/openapi-schema.js';
import { RequestError } from '../../platform/request-error.js';
import { aboutSeries, forecastValues, labels } from './answers.js';
import { type ScoredWindow, scoreWindows } from './backtest-scores.js';
import { jsonNumbers, wantedLevels } from './levels.js';
import type { PreparedSeries } from './prepare.js';
import { checkWindows, resolveSeries } from './resolve-series.js';
import { backtestCutoffs, rollingForecasts } from './rolling.js';
import { type BacktestBody, backtestAnswer, backtestRequest } from './schemas.js';

@ApiTags('backtests')
@Needs('forecast')
@Controller('v1/backtests')
export class BacktestsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Forecast windows of a history as if its end were not known, and score them' })
  @ApiOkResponse({ schema: openApiSchema(backtestAnswer) })
  backtest(
    @Body({ schema: backtestRequest }) body: BacktestBody,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { api } = this;
    return withDeadline(api.config.server.syncTimeoutMs, reply, async (signal) => {
      const { horizon, frequency, season, model, windows: count } = body;
      const step = body.step ?? horizon;
      const wanted = wantedLevels(body);
      checkWindows(count * body.series.length, horizon);
      const series = await resolveSeries(api, caller, body.series, { horizon: 0, frequency, season }, signal);
      const rolling = series.map((prepared, i) => ({
        values: prepared.values,
        season: prepared.season,
        frequency: prepared.frequency,
        columns: prepared.covariates,
        cutoffs: cutoffs(prepared, i, horizon, count, step),
      }));
      const rolled = await rollingForecasts(api.forecasts, rolling, {
        horizon,
        quantiles: wanted.all,
        owner: caller.owner,
        model,
        signal,
      });
      const scored = series.map((): ScoredWindow[] => []);
      const windows = series.map((): object[] => []);
      for (const { series: i, cutoff, forecast } of rolled) {
        const { values, season } = series[i]!;
        const actual = values.subarray(cutoff, cutoff + horizon);
        scored[i]!.push({ history: values.subarray(0, cutoff), actual, quantiles: forecast.quantiles, season });
        windows[i]!.push({
          cutoff,
          timestamps: labels(series[i]!, cutoff, horizon),
          actual: jsonNumbers(actual),
          ...forecastValues(forecast, wanted),
        });
      }
      return {
        ...(await api.forecasts.describe(caller.owner, model)),
        requestId: request.id,
        horizon,
        scores: scoreWindows(scored.flat(), wanted),
        series: series.map((prepared, i) => ({
          ...aboutSeries(prepared),
          scores: scoreWindows(scored[i]!, wanted),
          windows: windows[i]!,
        })),
      };
    });
  }
}

function cutoffs(
  { values, id }: PreparedSeries,
  index: number,
  horizon: number,
  count: number,
  step: number,
): number[] {
  const out = backtestCutoffs(values.length, horizon, count, step);
  const first = values.findIndex((value) => !Number.isNaN(value));
  if (out[0]! > first) return out;
  throw new RequestError({
    status: 422,
    code: 'TOO_SHORT',
    message: `${values.length} steps are too few for ${count} windows of ${horizon}, ${step} apart`,
    where: { series: id, field: `series[${index}].values` },
    index,
    fix: 'ask for fewer or shorter windows, or give a longer history',
  });
}
