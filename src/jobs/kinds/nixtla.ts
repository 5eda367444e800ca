import { deserialize } from 'node:v8';
import { Injectable } from '@nestjs/common';
import { answerRequest } from '../../forecast/nixtla/endpoints.js';
import { JobBytes, type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Answers a request of the Nixtla protocol that nobody waits for; the answer is kept as the JSON that a poll will carry. */
@Injectable()
@JobProcessor('nixtla')
export class NixtlaJob implements JobHandler<AdderJobs, 'nixtla'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process(context: JobContext<DataOfJob<'nixtla'>>): Promise<JobBytes> {
    const { owner, data, signal } = context;
    const input = deserialize(await this.parts.objects.get(owner, data.input)) as never;
    const account = { owner, limits: this.parts.limits };
    const answer = await answerRequest(data.endpoint, this.parts.forecasts(context), account, input, signal);
    return new JobBytes(Buffer.from(JSON.stringify(answer)));
  }
}
