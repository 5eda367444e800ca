import { createHash } from 'node:crypto';
import { deserialize } from 'node:v8';
import { Injectable } from '@nestjs/common';
import { prepareSeries } from '../../forecast/rest/prepare.js';
import type { FineTuneSeries } from '../../forecast/training/fine-tune.js';
import { AdderError } from '../../platform/errors.js';
import { unknownSeries } from '../../store/series.js';
import { filesIn, fineTuneApart } from '../fine-tuning/fine-tune-process.js';
import { packModel } from '../inference/tuned-folders.js';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { selectedNames } from './series-groups.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Latest values of a series that are learnt from. */
const LAST = 20_000;

/**
 * Fine-tunes a forecaster on stored series, or on those that came with a request, and keeps it as a model of the account.
 * Where no weights forecast the held-out tails better than the base's, the model has the base's weights, and its card says so.
 */
@Injectable()
@JobProcessor('fine-tune')
export class FineTuneJob implements JobHandler<AdderJobs, 'fine-tune'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process(context: JobContext<DataOfJob<'fine-tune'>>) {
    const { data, owner, signal, progress } = context;
    const { models, inference, config } = this.parts;
    progress(0, 'reading the series');
    const series = data.values ? await this.sent(owner, data.values) : await this.stored(context);
    const wanted = data.base ?? config.model;
    const info = await inference.describe(wanted, signal);
    const located = await inference.locate(wanted);
    const { DEFAULT_MODEL, modelFolder } = await import('../../forecast/model/load.js');
    // A configured method without weights has nothing to tune: the shipped network stands in for it.
    const folder = modelFolder(info.rollStep === undefined || located === 'adder' ? DEFAULT_MODEL : located);
    const scope = data.scope ?? (data.depth > 1 && info.backend === 'webgpu' ? 'all' : 'head');
    const { files, report } = await fineTuneApart(
      {
        base: folder,
        series,
        steps: data.steps,
        scope,
        name: data.id,
        ...(data.learningRate === undefined ? {} : { learningRate: data.learningRate }),
        ...(config.backend === 'auto' ? {} : { backend: config.backend }),
      },
      {
        signal,
        progress: ({ step, steps, tail, base }) =>
          progress(
            step / steps,
            `step ${step} of ${steps}: loss ${tail.toFixed(4)} on held-out ends, ${base.toFixed(4)} before`,
          ),
      },
    );
    const kept = files ?? (await filesIn(folder));
    const digest = createHash('sha256').update(kept['model.safetensors']!).digest('hex').slice(0, 16);
    const { curve: _, ...summary } = report;
    const card = JSON.parse(JSON.stringify({ ...summary, ...data.about, request: data.request, steps: data.steps }));
    return async (client: Parameters<typeof models.putIn>[0]) => {
      await models.putIn(client, owner, { id: data.id, base: report.base, digest, card }, packModel(kept));
      return { model: data.id, digest, ...summary };
    };
  }

  private async sent(owner: string, id: string): Promise<FineTuneSeries[]> {
    return deserialize(await this.parts.objects.get(owner, id)) as FineTuneSeries[];
  }

  private async stored(context: JobContext<DataOfJob<'fine-tune'>>): Promise<FineTuneSeries[]> {
    const { owner, data, signal } = context;
    const { series, reader } = this.parts;
    const names = await selectedNames(this.parts, context);
    const out: FineTuneSeries[] = [];
    let total = 0;
    for (const name of names) {
      signal.throwIfAborted();
      const row = (await series.find(owner, [name])).get(name);
      if (!row) throw unknownSeries(name);
      const { times, values } = await reader.read(row.id, { limit: LAST, last: true });
      if (!values.some((value) => !Number.isNaN(value))) continue;
      const frequency = data.frequency ?? row.freq ?? undefined;
      const season = data.season ?? row.season ?? undefined;
      const prepared = prepareSeries({ values, times, frequency, season }, name, { horizon: 0 });
      total += prepared.values.length;
      if (total > this.parts.limits.pointsPerRequest) {
        throw new AdderError({
          code: 'TOO_MUCH',
          message: `these series have more than ${this.parts.limits.pointsPerRequest} values`,
          fix: 'name fewer series',
        });
      }
      out.push({ values: prepared.values, season: prepared.season, frequency: prepared.frequency });
    }
    return out;
  }
}
