import { Body, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { withDeadline } from '../../http/deadline.js';
import { openApiSchema } from '../../http/openapi-schema.js';
import { paced } from '../../platform/pace.js';
import { intervalLevels } from '../quantiles.js';
import { SCORE_LEVELS, scorePoints } from './anomaly-score.js';
import { aboutSeries, labels } from './answers.js';
import { jsonNumbers } from './levels.js';
import { checkWindows, resolveSeries } from './resolve-series.js';
import { cutoffsOver, type RolledForecast, rollingForecasts, strideFor, warmUp } from './rolling.js';
import { type AnomalyBody, anomalyAnswer, anomalyRequest } from './schemas.js';

@ApiTags('anomalies')
@Needs('forecast')
@Controller('v1/anomalies')
export class AnomaliesController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Score each value of a history by a forecast that had not seen it' })
  @ApiOkResponse({ schema: openApiSchema(anomalyAnswer) })
  detect(
    @Body({ schema: anomalyRequest }) body: AnomalyBody,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { api } = this;
    return withDeadline(api.config.server.syncTimeoutMs, reply, async (signal) => {
      const { frequency, season, model, level, last } = body;
      const ends = intervalLevels(level);
      const quantiles = [...new Set([...SCORE_LEVELS, ...ends])].sort((a, b) => a - b);
      const series = await resolveSeries(api, caller, body.series, { horizon: 0, frequency, season }, signal);
      const starts = series.map((prepared) =>
        Math.max(warmUp(prepared), last === undefined ? 0 : prepared.values.length - last),
      );
      const stride = body.stride ?? strideFor(series.map(({ values }, i) => values.length - starts[i]!));
      const rolling = series.map(({ values, season, frequency, covariates }, i) => ({
        values,
        season,
        frequency,
        columns: covariates.map((column) => ({ ...column, known: true })),
        cutoffs: cutoffsOver(starts[i]!, values.length, stride),
      }));
      checkWindows(
        rolling.reduce((sum, { cutoffs }) => sum + cutoffs.length, 0),
        stride,
      );
      const rolled = await rollingForecasts(api.forecasts, rolling, {
        horizon: stride,
        quantiles,
        owner: caller.owner,
        model,
        signal,
      });
      const bySeries = series.map((): RolledForecast[] => []);
      for (const forecast of rolled) bySeries[forecast.series]!.push(forecast);
      return {
        ...(await api.forecasts.describe(caller.owner, model)),
        requestId: request.id,
        level,
        series: await paced(series, (prepared, i) => {
          const { values } = prepared;
          const scores = scorePoints(values, bySeries[i]!, quantiles, ends);
          return {
            ...aboutSeries(prepared),
            timestamps: labels(prepared, 0, values.length),
            values: jsonNumbers(values),
            expected: jsonNumbers(scores.expected),
            low: jsonNumbers(scores.low),
            high: jsonNumbers(scores.high),
            scores: jsonNumbers(scores.score),
            anomalies: scores.anomaly,
            count: scores.anomaly.filter(Boolean).length,
          };
        }),
      };
    });
  }
}
