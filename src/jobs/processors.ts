import { Inject, Injectable } from '@nestjs/common';
import { toAdderError } from '../platform/errors.js';
import { isTransient } from './failures.js';
import { decodeRequests, encodeAnswers } from './forecast/codec.js';
import { InferenceClient } from './inference/client.js';
import { AnomalyJob } from './kinds/anomaly.js';
import { BackfillJob } from './kinds/backfill.js';
import { BacktestJob } from './kinds/backtest.js';
import { FineTuneJob } from './kinds/fine-tune.js';
import { ImportJob } from './kinds/import.js';
import { ListenJob } from './kinds/listen.js';
import { NixtlaJob } from './kinds/nixtla.js';
import { ReportJob } from './kinds/report.js';
import { JobBytes, type JobContext, type JobHandler, JobProcessor } from './processor.js';
import type { AdderJobs, DataOfJob } from './table.js';

@Injectable()
@JobProcessor('forecast')
class ForecastJob implements JobHandler<AdderJobs, 'forecast'> {
  constructor(@Inject(InferenceClient) private readonly inference: InferenceClient) {}

  async process({ data, payload, deadline, priority, signal }: JobContext<DataOfJob<'forecast'>>): Promise<JobBytes> {
    const answers = await this.inference.forecastEach(decodeRequests(payload ?? new Uint8Array()), {
      model: data.model,
      priority,
      signal,
      ...(deadline ? { deadline } : {}),
    });
    // What another run may not meet fails the run; what is a request's own fault is its answer.
    const passing = answers.find((answer) => answer.status === 'rejected' && isTransient(answer.reason));
    if (passing?.status === 'rejected') throw passing.reason;
    return new JobBytes(
      encodeAnswers(
        answers.map((answer) =>
          answer.status === 'fulfilled' ? { result: answer.value } : { error: toAdderError(answer.reason) },
        ),
      ),
      { ...(await this.inference.lastRun(data.model)) },
    );
  }
}

@Injectable()
@JobProcessor('describe')
class DescribeJob implements JobHandler<AdderJobs, 'describe'> {
  constructor(@Inject(InferenceClient) private readonly inference: InferenceClient) {}

  async process({ data, signal }: JobContext<DataOfJob<'describe'>>) {
    return { ...(await this.inference.describe(data.model, signal)) };
  }
}

@Injectable()
@JobProcessor('self-test')
class SelfTestJob implements JobHandler<AdderJobs, 'self-test'> {
  constructor(@Inject(InferenceClient) private readonly inference: InferenceClient) {}

  async process({ signal }: JobContext) {
    await this.inference.selfTest(signal);
    return {};
  }
}

/** The processors of the job table, one class a kind. */
export const PROCESSORS = [
  ForecastJob,
  DescribeJob,
  SelfTestJob,
  BacktestJob,
  AnomalyJob,
  BackfillJob,
  ImportJob,
  FineTuneJob,
  NixtlaJob,
  ListenJob,
  ReportJob,
];
