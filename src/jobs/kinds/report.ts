import { Injectable } from '@nestjs/common';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs } from '../table.js';
import { CLOSING } from './series-groups.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Series, and values, that a report names. */
const NAMED = 20;

interface Outlier {
  series: string;
  time: string;
  value: number;
  expected: number;
  score: number;
}

/** The end of a flow: says in one small result what an import brought and what the backfill found in it. */
@Injectable()
@JobProcessor('report')
export class ReportJob implements JobHandler<AdderJobs, 'report'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process({ children }: JobContext) {
    const backfill = (await children()).find(({ kind }) => kind === 'backfill');
    if (!backfill) throw new Error('a report follows a backfill');
    const imported = (await this.parts.ledger.children(backfill.id)).find(({ kind }) => kind === 'import');
    const outliers: Outlier[] = [];
    const busiest: { series: string; anomalies: number; judged: number }[] = [];
    const failed: { series: string; code: unknown; message: unknown }[] = [];
    for await (const { seriesKey, kind, meta } of this.parts.results.closings(backfill.id, CLOSING)) {
      if (kind === 'error') {
        if (failed.length < NAMED) failed.push({ series: seriesKey, code: meta.code, message: meta.message });
        continue;
      }
      const { anomalies, judged } = meta as { anomalies: number; judged: number };
      if (anomalies > 0) busiest.push({ series: seriesKey, anomalies, judged });
      for (const one of meta.largest as Omit<Outlier, 'series'>[]) outliers.push({ series: seriesKey, ...one });
      outliers.sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
      outliers.splice(NAMED);
      busiest.sort((a, b) => b.anomalies / b.judged - a.anomalies / a.judged);
      busiest.splice(NAMED);
    }
    const { names: _, ...importResult } = imported?.result ?? {};
    return {
      ...(imported ? { import: { job: imported.id, ...importResult } } : {}),
      backfill: { job: backfill.id, ...backfill.result },
      outliers,
      busiest,
      failed,
    };
  }
}
