import { Body, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { withDeadline } from '../../http/deadline.js';
import { openApiSchema } from '../../http/openapi-schema.js';
import { aboutSeries, forecastValues, labels } from './answers.js';
import type { WindowForecast } from './forecast-service.js';
import { jsonNumbers, wantedLevels } from './levels.js';
import type { PreparedSeries } from './prepare.js';
import { resolveSeries } from './resolve-series.js';
import { type ForecastBody, forecastAnswer, forecastRequest } from './schemas.js';

@ApiTags('forecasts')
@Needs('forecast')
@Controller('v1/forecasts')
export class ForecastsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @HttpCode(200)
  @ApiOperation({ summary: 'Forecast series, sent with the request or stored' })
  @ApiOkResponse({ schema: openApiSchema(forecastAnswer) })
  forecast(
    @Body({ schema: forecastRequest }) body: ForecastBody,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { api } = this;
    return withDeadline(api.config.server.syncTimeoutMs, reply, async (signal) => {
      const { horizon, frequency, season, model } = body;
      const wanted = wantedLevels(body);
      const series = await resolveSeries(api, caller, body.series, { horizon, frequency, season }, signal);
      const windows = series.map(({ values, season, frequency, covariates }) => ({
        history: values,
        season,
        frequency,
        columns: covariates,
      }));
      const forecasts = await api.forecasts.forecast(windows, {
        horizon,
        quantiles: wanted.all,
        owner: caller.owner,
        model,
        signal,
      });
      return {
        ...(await api.forecasts.describe(caller.owner, model)),
        requestId: request.id,
        horizon,
        forecasts: series.map((prepared, i) => ({
          ...aboutSeries(prepared),
          timestamps: labels(prepared, prepared.values.length, horizon),
          ...forecastValues(forecasts[i]!, wanted),
          ...contributionsOf(prepared, forecasts[i]!),
        })),
      };
    });
  }
}

function contributionsOf({ covariates }: PreparedSeries, { fit, contributions }: WindowForecast) {
  if (!fit || !contributions) return {};
  return {
    covariates: Object.fromEntries(
      covariates.map(({ name }, j) => [
        name,
        { coefficient: fit.coefficients[j]!, contribution: jsonNumbers(contributions[j]!) },
      ]),
    ),
  };
}
