import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { withDeadline } from '../../http/deadline.js';
import { ModelStore, type StoredModel } from '../../store/models.js';
import { defaultSeason } from '../time/frequency.js';
import { answerRequest, type EndpointName, type Endpoints } from './endpoints.js';
import { tuneNow, tuningOf } from './fine-tuning.js';
import { frequencyOfAlias } from './frequency.js';
import { resolveModel } from './models.js';
import {
  type AnomalyInput,
  anomalyInput,
  type CrossValidationInput,
  crossValidationInput,
  type FinetuneInput,
  type ForecastInput,
  finetuneInput,
  forecastInput,
  type HistoricInput,
  historicInput,
  type OnlineAnomalyInput,
  onlineAnomalyInput,
} from './schemas.js';

/** Values of a history that clients send at least; the shipped forecaster reads so many. */
const INPUT_SIZE = 1024;

const modelParams = z.object({ model: z.string().max(64).optional(), freq: z.string().max(32).optional() });
const modelId = z.string().regex(/^[a-zA-Z0-9\-_]{1,36}$/, { error: 'expected the id of a fine-tuned model' });

/** The Nixtla protocol (TimeGPT API), so that its clients work against this service with another base_url. */
@ApiTags('nixtla')
@Needs('forecast')
@Controller()
export class NixtlaController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post('v2/forecast')
  @HttpCode(200)
  @ApiOperation({ summary: 'Forecast' })
  forecast(
    @Body({ schema: forecastInput }) input: ForecastInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.answer('forecast', input, caller, reply);
  }

  @Post('v2/cross_validation')
  @HttpCode(200)
  @ApiOperation({ summary: 'Forecasts of windows of the history, or with full_history of all of it' })
  crossValidation(
    @Body({ schema: crossValidationInput }) input: CrossValidationInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.answer('cross_validation', input, caller, reply);
  }

  @Post('v2/historic_forecast')
  @HttpCode(200)
  @ApiOperation({ summary: 'Forecasts of the history itself (R client)' })
  historicForecast(
    @Body({ schema: historicInput }) input: HistoricInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.answer('historic_forecast', input, caller, reply);
  }

  @Post('v2/anomaly_detection')
  @HttpCode(200)
  @ApiOperation({ summary: 'Anomalies of a whole history' })
  anomalies(
    @Body({ schema: anomalyInput }) input: AnomalyInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.answer('anomaly_detection', input, caller, reply);
  }

  @Post('v2/online_anomaly_detection')
  @HttpCode(200)
  @ApiOperation({ summary: 'Anomalies among the latest values' })
  onlineAnomalies(
    @Body({ schema: onlineAnomalyInput }) input: OnlineAnomalyInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.answer('online_anomaly_detection', input, caller, reply);
  }

  @Post('v2/finetune')
  @HttpCode(200)
  @ApiOperation({ summary: 'Fine-tune a model on the series sent' })
  finetune(
    @Body({ schema: finetuneInput }) input: FinetuneInput,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return this.run(reply, async (signal) => {
      const tuning = await tuningOf(this.api, caller, input, input.output_model_id, false, signal);
      return { finetuned_model_id: await tuneNow(this.api, caller, tuning, signal) };
    });
  }

  @Get('v2/finetuned_models')
  @ApiOperation({ summary: 'Fine-tuned models of the account' })
  async finetunedModels(@From() caller: Caller) {
    return { finetuned_models: (await new ModelStore(this.api.database).list(caller.owner)).map(shown) };
  }

  @Get('v2/finetuned_models/:id')
  @ApiOperation({ summary: 'One fine-tuned model' })
  async finetunedModel(@Param('id', { schema: modelId }) id: string, @From() caller: Caller) {
    return shown(await new ModelStore(this.api.database).get(caller.owner, id));
  }

  @Delete('v2/finetuned_models/:id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a fine-tuned model' })
  async deleteModel(@Param('id', { schema: modelId }) id: string, @From() caller: Caller): Promise<void> {
    await new ModelStore(this.api.database).remove(caller.owner, id);
  }

  @Get('model_params')
  @ApiOperation({ summary: 'How much history the model reads and how far it looks, for a frequency' })
  modelParams(@Query({ schema: modelParams }) query: z.output<typeof modelParams>) {
    resolveModel(query);
    const season = query.freq === undefined ? 1 : defaultSeason(frequencyOfAlias(query.freq).frequency);
    return { detail: { input_size: INPUT_SIZE, horizon: Math.max(season, 12) } };
  }

  @Get('validate_api_key')
  @ApiOperation({ summary: '200 for a valid key, 401 for any other' })
  validate() {
    return { message: 'success', detail: 'the API key is valid', support: '/docs' };
  }

  @Get('usage')
  @ApiOperation({ summary: 'Requests of this account answered by this process, and the limit of the key a minute' })
  usage(@From() caller: Caller) {
    const limit = caller.key?.limits.ratePerMinute ?? this.api.config.limits.ratePerMinute;
    const { minute, month } = this.api.usage.of(caller.owner);
    return { minute: { used: minute, limit, remaining: Math.max(0, limit - minute) }, month: { used: month } };
  }

  /** With `finetune_steps` a model is fine-tuned on the series first. */
  private answer<K extends EndpointName>(endpoint: K, input: Endpoints[K], caller: Caller, reply: FastifyReply) {
    const { api } = this;
    return this.run(reply, async (signal) => {
      if (!input.finetune_steps) return answerRequest(endpoint, api.forecasts, caller, input, signal);
      const tuning = await tuningOf(api, caller, input, null, true, signal);
      const tuned = { ...input, finetuned_model_id: await tuneNow(api, caller, tuning, signal) };
      return answerRequest(endpoint, api.forecasts, caller, tuned, signal);
    });
  }

  private run<T>(reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.api.config.server.syncTimeoutMs, reply, work);
  }
}

function shown({ id, base, card, createdAt }: StoredModel) {
  const { steps, depth, loss, freq } = (card ?? {}) as Record<string, unknown>;
  return {
    id,
    created_at: createdAt.toISOString(),
    created_by: 'adder',
    base_model_id: base,
    steps: steps ?? 0,
    depth: depth ?? 1,
    loss: loss ?? 'default',
    model: base,
    freq: freq ?? 'D',
  };
}
