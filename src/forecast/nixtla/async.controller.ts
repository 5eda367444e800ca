import { serialize } from 'node:v8';
import { Body, Controller, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import type { JobRecord, JobStatus } from '../../jobs/ledger.js';
import { AdderError } from '../../platform/errors.js';
import type { Queryable } from '../../store/database.js';
import { ObjectStore } from '../../store/objects.js';
import type { EndpointName, Endpoints } from './endpoints.js';
import { isTuned, startTuning, tuningData, tuningOf } from './fine-tuning.js';
import { frequencyOfAlias } from './frequency.js';
import { resolveModel } from './models.js';
import { checkLimits } from './payload.js';
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

/** Jobs that name no limit have a day. */
const TIMEOUT_S = 86_400;

/** Words of the protocol; clients raise on any other. */
const STATUS: Record<JobStatus, string> = {
  queued: 'pending',
  running: 'running',
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'cancelled',
};

interface Later {
  job_options?: { timeout_seconds?: number | null | undefined } | null | undefined;
}

/** The asynchronous half of the Nixtla protocol: submit, poll, cancel. */
@ApiTags('nixtla')
@Needs('forecast')
@Controller('v2')
export class NixtlaAsyncController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post('forecast/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Forecast by a job' })
  forecast(@Body({ schema: forecastInput }) input: ForecastInput, @From() caller: Caller) {
    return this.submit('forecast', input, caller, input.h);
  }

  @Post('cross_validation/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Cross-validate by a job' })
  crossValidation(@Body({ schema: crossValidationInput }) input: CrossValidationInput, @From() caller: Caller) {
    return this.submit('cross_validation', input, caller, input.h);
  }

  @Post('historic_forecast/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Forecast the history itself by a job' })
  historicForecast(@Body({ schema: historicInput }) input: HistoricInput, @From() caller: Caller) {
    return this.submit('historic_forecast', input, caller, 0);
  }

  @Post('anomaly_detection/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Find the anomalies of a whole history by a job' })
  anomalies(@Body({ schema: anomalyInput }) input: AnomalyInput, @From() caller: Caller) {
    return this.submit('anomaly_detection', input, caller, 0);
  }

  @Post('online_anomaly_detection/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Find the anomalies among the latest values by a job' })
  onlineAnomalies(@Body({ schema: onlineAnomalyInput }) input: OnlineAnomalyInput, @From() caller: Caller) {
    return this.submit('online_anomaly_detection', input, caller, input.h);
  }

  @Post('finetune/async')
  @HttpCode(202)
  @ApiOperation({ summary: 'Fine-tune by a job' })
  async finetune(
    @Body({ schema: finetuneInput }) input: FinetuneInput,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
  ) {
    const gone = new AbortController();
    request.raw.once('close', () => gone.abort());
    const tuning = await tuningOf(this.api, caller, input, input.output_model_id, false, gone.signal);
    await isTuned(this.api, caller, tuning);
    return { job_id: await startTuning(this.api, caller, tuning, deadlineOf(input)) };
  }

  @Get(':endpoint/jobs/:id')
  @ApiOperation({ summary: 'How far a job is, and once it has succeeded its result' })
  async poll(
    @Param('endpoint') endpoint: string,
    @Param('id') id: string,
    @From() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const job = await this.api.jobs.client.status(caller.owner, id);
    if (!belongs(job, endpoint)) throw unknown(id);
    const error = job.error ? { code: job.error.code, message: job.error.message, details: job.error.fix ?? '' } : null;
    const head = { job_id: id, status: STATUS[job.status], error };
    reply.header('content-type', 'application/json; charset=utf-8');
    if (job.status !== 'succeeded') reply.send(JSON.stringify(head));
    else if (job.kind === 'fine-tune') {
      reply.send(JSON.stringify({ ...head, result: { finetuned_model_id: job.result?.model } }));
    } else {
      // The result is JSON already.
      const output = await this.api.jobs.ledger.output(caller.owner, id);
      const text = JSON.stringify(head).slice(0, -1);
      reply.send(`${text},"result":${output?.toString('utf8') ?? 'null'}}`);
    }
  }

  @Post('async/jobs/:id/cancel')
  @HttpCode(200)
  @ApiOperation({ summary: 'Cancel a job' })
  async cancel(@Param('id') id: string, @From() caller: Caller) {
    const job = await this.api.jobs.client.status(caller.owner, id);
    if (!['nixtla', 'fine-tune'].includes(job.kind)) throw unknown(id);
    const { status } = await this.api.jobs.client.cancel(caller.owner, id);
    return { job_id: id, status: STATUS[status] };
  }

  /** What is at fault with a request shows here as far as it can be seen without computing. */
  private async submit<K extends EndpointName>(
    endpoint: K,
    input: Endpoints[K] & Later,
    caller: Caller,
    horizon: number,
  ): Promise<{ job_id: string }> {
    const { api } = this;
    checkLimits(caller, input.series.sizes, input.series.y.length, horizon);
    frequencyOfAlias(input.freq);
    await api.forecasts.names.resolve(caller.owner, resolveModel(input));
    const deadline = deadlineOf(input);
    const options = { owner: caller.owner, dedupKey: null, deadline };
    const kept = { kind: 'nixtla-request', keepMs: deadline.getTime() - Date.now() + 3_600_000 };
    const objects = new ObjectStore(api.database);
    const keep = (asked: object, client?: Queryable) => objects.put(caller.owner, kept, serialize(asked), client);
    if (!input.finetune_steps) {
      const { id } = await api.jobs.client.add(
        'nixtla',
        async (tx) => ({ endpoint, input: await keep(input, tx) }),
        options,
      );
      return { job_id: id };
    }
    const tuning = await tuningOf(api, caller, input, null, true, new AbortController().signal);
    const tuned = { ...input, finetune_steps: 0, finetuned_model_id: tuning.id };
    const children = (await isTuned(api, caller, tuning))
      ? []
      : [{ kind: 'fine-tune' as const, data: await tuningData(api, caller, tuning)() }];
    const data = { endpoint, input: await keep(tuned) };
    const [id] = await api.jobs.client.addFlow({ kind: 'nixtla', data, children }, options);
    return { job_id: id! };
  }
}

const deadlineOf = ({ job_options }: Later) =>
  new Date(Date.now() + 1000 * (job_options?.timeout_seconds ?? TIMEOUT_S));

const belongs = ({ kind, data }: JobRecord, endpoint: string) =>
  kind === 'nixtla'
    ? (data as { endpoint: string }).endpoint === endpoint
    : kind === 'fine-tune' && endpoint === 'finetune';

const unknown = (id: string) =>
  new AdderError({ code: 'UNKNOWN_JOB', message: `there is no job ${id.slice(0, 64)}`, fix: 'check the id' });
