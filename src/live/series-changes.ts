/** Changes of stored series that are no new points. Their live states hear of them through the log, with the commit. */
import { MIN_TIME } from '../store/checks.js';
import type { Database, Queryable } from '../store/database.js';
import { PointWriter } from '../store/points.js';
import { type Series, type SeriesFields, SeriesStore } from '../store/series.js';
import type { Announcer } from './announce.js';
import { type Appended, appendChanges } from './log/append.js';
import { collect } from './log/collect.js';

export class SeriesChanges {
  private readonly writer: PointWriter;
  private readonly series: SeriesStore;

  constructor(
    private readonly database: Database,
    private readonly announcer: Announcer,
  ) {
    this.writer = new PointWriter(database);
    this.series = new SeriesStore(database);
  }

  /**
   * Removes the points of [from, to), milliseconds since 1970; returns how many. The caller has checked the owner.
   * States that have passed them are rebuilt.
   */
  removeRange(seriesId: bigint, from: number, to: number): Promise<number> {
    return this.touching(async (client) => {
      const count = await this.writer.removeRange(seriesId, from, to, client);
      return { result: count, touched: count > 0 ? [seriesId, Math.max(from, MIN_TIME)] : undefined };
    });
  }

  /**
   * Changes the fields given of a series and leaves the others. With another frequency or season its steps are others, so
   * its states are built again from the first point. Throws `UNKNOWN_SERIES`.
   */
  describe(owner: string, uniqueId: string, fields: SeriesFields): Promise<Series> {
    return this.touching(async (client) => {
      const { before, after } = await this.series.update(owner, uniqueId, fields, client);
      const same = before.freq === after.freq && before.season === after.season;
      return { result: after, touched: same ? undefined : [after.id, MIN_TIME] };
    });
  }

  /** Does something in one transaction with the word that a series has changed from a time on. */
  private async touching<T>(
    work: (client: Queryable) => Promise<{ result: T; touched: [seriesId: bigint, from: number] | undefined }>,
  ): Promise<T> {
    let appended: Appended[] = [];
    const done = await this.database.transaction(async (client) => {
      const { result, touched } = await work(client);
      if (touched) {
        const [id, from] = touched;
        const fresh = { seriesIds: new BigInt64Array(), times: new Float64Array(), values: new Float64Array() };
        const updated = { seriesIds: BigInt64Array.of(id), times: Float64Array.of(from) };
        appended = await appendChanges(client, collect([{ fresh, updated }]), this.announcer.notify);
      }
      return result;
    });
    if (appended.length > 0) this.announcer.announce(appended);
    return done;
  }
}
