import { Injectable } from '@nestjs/common';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { judge, keepJudged } from './one-step.js';
import { CLOSING, eachGroup } from './series-groups.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Scores every value of stored series by a forecast that had not seen it. */
@Injectable()
@JobProcessor('anomaly')
export class AnomalyJob implements JobHandler<AdderJobs, 'anomaly'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process(context: JobContext<DataOfJob<'anomaly'>>) {
    const { data, owner, signal } = context;
    const { level, last, stride, model } = data;
    const engine = this.parts.engine(context);
    const service = this.parts.forecasts(context);
    const engineModel = await service.names.resolve(owner, model);
    const info = await engine.describe(engineModel);
    const done = await eachGroup(this.parts, context, {}, async (units, progress) => {
      const options = { level, last, stride, info, owner, model, engineModel, signal, progress };
      const judged = await judge(units, engine, service, options);
      return Promise.all(units.map((unit, i) => keepJudged(unit, judged[i]!, level)));
    });
    return { model: info.model, backend: info.backend, ...done, level, ...(await this.total(context.id)) };
  }

  private async total(jobId: string) {
    let judged = 0;
    let anomalies = 0;
    for await (const { kind, meta } of this.parts.results.closings(jobId, CLOSING)) {
      if (kind !== 'summary') continue;
      judged += meta.judged as number;
      anomalies += meta.anomalies as number;
    }
    return { judged, anomalies };
  }
}
