import { Injectable } from '@nestjs/common';
import { ColumnStore } from '../../forecast/series/columns.js';
import { readPointBytes } from '../../store/rest/read-points.js';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { keepNames } from './names.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Points of one transaction. */
const BATCH = 40_000;

/**
 * Writes an uploaded file into the store. All of it is read and checked before the first point is written; then batches are
 * committed one after another, and a run that begins again passes over those that were.
 */
@Injectable()
@JobProcessor('import')
export class ImportJob implements JobHandler<AdderJobs, 'import'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process({ id, owner, data, signal, progress }: JobContext<DataOfJob<'import'>>) {
    const { objects, ingest, limits } = this.parts;
    const bytes = await objects.get(owner, data.upload);
    const { meta } = await objects.info(owner, data.upload);
    progress(0.05, 'reading the file');
    const points = await readPointBytes(bytes, String(meta.type), data.series, limits.pointsPerRequest);
    const total = { inserted: 0, updated: 0, unchanged: 0 };
    for (let from = 0; from < points.length; from += BATCH) {
      signal.throwIfAborted();
      const batch = new ColumnStore();
      for (let i = from; i < Math.min(from + BATCH, points.length); i++) {
        batch.push(points.ids[points.series[i]!]!, points.time[i]!, points.value[i]!, points.line[i]!);
      }
      // The stream remembers which batches are committed.
      const place = { stream: `import ${id}`, sequence: BigInt(from / BATCH + 1) };
      const ack = await ingest.write({ owner, limits }, batch, place);
      for (const key of ['inserted', 'updated', 'unchanged'] as const) total[key] += ack[key];
      progress(
        0.1 + (0.9 * (from + batch.length)) / points.length,
        `${from + batch.length} of ${points.length} points`,
      );
    }
    const names = await keepNames(objects, owner, points.ids, this.parts.config.jobs.retentionMs);
    return { points: points.length, series: points.ids.length, ...total, names };
  }
}
