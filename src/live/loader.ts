/**
 * Reads series from the store: the newest snapshot that is still valid and the points behind it, or all points. What it
 * returns has seen exactly the points of the log up to an entry, because snapshot, points and the head of the log are
 * read in one view of the database.
 */

import { FeatureState } from '../forecast/model/features.js';
import type { Advance, StreamBatch } from '../forecast/model/stream-batch.js';
import { chooseSeason } from '../forecast/series/choose-season.js';
import { defaultSeason, parseFrequency } from '../forecast/time/frequency.js';
import type { Database, Queryable } from '../store/database.js';
import { float8Array, int8Array, readFloat8Array, readTimestampArray } from '../store/pg-binary.js';
import { planGrid, SETTLED_AFTER, SeriesGrid } from './grid.js';
import { markStates } from './log/append.js';
import { SeriesCore } from './series-core.js';
import { coreOf, SLOTS, type Slot, SNAPSHOT_VERSION, stateName } from './snapshot.js';

/** Series that are read together. */
export const LOAD_TOGETHER = 256;

/** Points of one series read at a time. */
const PIECE = 8192;

/** Tokens that are scanned at a time, so that the steps of live series come between. */
const SCAN_TOKENS = 2048;

/** Points from further in the future than this are a sender's slip: live states do not follow them. */
export const MAX_LEAD_MS = 86_400_000;

export interface LoadRequest {
  id: bigint;
  partition: number;
  /** Snapshots that have passed this time are worthless; milliseconds since 1970, infinite where none is. */
  changedFrom: number;
}

export interface Loaded {
  /** There is no such series any more. */
  deleted: boolean;
  /** Undefined while the series has no grid yet. */
  core: SeriesCore | undefined;
  /** Last entry of the log whose points are in. */
  through: number;
  /** From which snapshot it was continued; undefined: from the first point. */
  slot: Slot | undefined;
  /** Where that stood. */
  snapshotAt: number;
  /** Revisions of the snapshots in the store. */
  revisions: Record<Slot, number>;
  /** Points read. */
  points: number;
}

interface Reading extends Loaded {
  request: LoadRequest;
  frequency: string | null;
  season: number | null;
  /** Read on from behind this time; milliseconds since 1970. */
  after: number;
  done: boolean;
}

/** Before all times that are stored. */
const BEGIN = -1e14;

const SNAPSHOTS = `select distinct on (series_id) series_id::text as id, model_id as name, position::float8 as position,
  (extract(epoch from last_at) * 1000)::float8 as last, bytes
from states where series_id = any($1) and model_id = any($2) and weights_digest = $3 and version = $4 and not dirty
order by series_id, position desc`;

const POINTS = `select u.id::text as id, p.times, p.points from unnest($1::int8[], $2::float8[]) u (id, after),
lateral (select array_send(array_agg(at order by at)) as times, array_send(array_agg(value order by at)) as points
  from (select at, value from points where series_id = u.id and at > to_timestamp(u.after / 1000)
    and at <= now() + interval '${MAX_LEAD_MS / 1000} seconds' order by at limit ${PIECE}) q) p`;

export class Loader {
  constructor(
    private readonly database: Database,
    private readonly batch: StreamBatch,
    private readonly onError: (error: Error) => void,
  ) {}

  /** Reads at most LOAD_TOGETHER series, in the order of the requests. */
  async load(requests: readonly LoadRequest[]): Promise<Loaded[]> {
    const changed = requests.filter(({ changedFrom }) => changedFrom < Number.POSITIVE_INFINITY);
    await this.mark(changed);
    return this.database.transaction(async (client) => {
      await client.query('set transaction isolation level repeatable read, read only');
      const heads = await this.heads(client);
      const readings = await this.begin(client, requests, heads);
      for (let left = readings.filter(({ done }) => !done); left.length > 0; left = left.filter(({ done }) => !done)) {
        await this.read(client, left);
      }
      // Without a point behind it a snapshot stands between two tokens; that happens only after points were removed.
      const bare = readings.filter(({ slot, core }) => slot && core && !core.due && core.position === core.kept);
      for (const reading of bare) this.restart(reading);
      for (let left = bare; left.length > 0; left = left.filter(({ done }) => !done)) await this.read(client, left);
      return readings;
    });
  }

  /** Rules out snapshots that were written while a change behind them was on its way. */
  private async mark(changed: readonly LoadRequest[]): Promise<void> {
    if (changed.length === 0) return;
    await markStates(
      this.database.pool,
      changed.map(({ id, changedFrom }) => [id, changedFrom]),
    );
  }

  private async heads(client: Queryable): Promise<Map<number, number>> {
    const { rows } = await client.query<{ partition: number; head: number }>(
      'select partition, head::float8 as head from live_heads',
    );
    return new Map(rows.map(({ partition, head }) => [partition, head]));
  }

  private async begin(
    client: Queryable,
    requests: readonly LoadRequest[],
    heads: ReadonlyMap<number, number>,
  ): Promise<Reading[]> {
    const { model } = this.batch;
    const ids = int8Array(requests.map(({ id }) => id));
    const names = SLOTS.map((slot) => stateName(model, slot));
    const { rows: revisions } = await client.query<{ id: bigint; name: string; revision: number }>(
      'select series_id as id, model_id as name, revision from states where series_id = any($1::int8[]) and model_id = any($2)',
      [ids, names],
    );
    const { rows: series } = await client.query<{ id: bigint; freq: string | null; season: number | null }>(
      'select id, freq, season from series where id = any($1::int8[])',
      [ids],
    );
    const facts = new Map(series.map((row) => [row.id, row]));
    const { rows: snapshots } = await client.query<{
      id: string;
      name: string;
      position: number;
      last: number;
      bytes: Buffer;
    }>(SNAPSHOTS, [ids, names, model.digest, SNAPSHOT_VERSION]);
    const found = new Map(snapshots.map((row) => [row.id, row]));
    return requests.map((request) => {
      const snapshot = found.get(String(request.id));
      const own: Record<Slot, number> = { a: 0, b: 0 };
      for (const { id, name, revision } of revisions) {
        if (id === request.id) own[name.endsWith('/a') ? 'a' : 'b'] = revision;
      }
      const known = facts.get(request.id);
      const reading: Reading = {
        request,
        frequency: known?.freq ?? null,
        season: known?.season ?? null,
        deleted: !known,
        core: undefined,
        through: heads.get(request.partition) ?? 0,
        slot: undefined,
        snapshotAt: 0,
        revisions: own,
        points: 0,
        after: BEGIN,
        done: !known,
      };
      const core = known && snapshot ? this.continued(request, snapshot.bytes) : undefined;
      if (core && snapshot) {
        reading.core = core;
        reading.slot = snapshot.name.endsWith('/a') ? 'a' : 'b';
        reading.snapshotAt = snapshot.position;
        reading.after = snapshot.last;
      }
      return reading;
    });
  }

  /** A snapshot that cannot be read costs its series a scan, and nobody else anything. */
  private continued({ id }: LoadRequest, bytes: Buffer): SeriesCore | undefined {
    try {
      return coreOf(this.batch.model, bytes);
    } catch (cause) {
      this.onError(
        new Error(`the snapshot of series ${id} cannot be read; its state is built from its points`, { cause }),
      );
      return undefined;
    }
  }

  private restart(reading: Reading): void {
    reading.core = undefined;
    reading.slot = undefined;
    reading.snapshotAt = 0;
    reading.after = BEGIN;
    reading.done = false;
  }

  /** The next piece of each series, taken into its core. */
  private async read(client: Queryable, readings: Reading[]): Promise<void> {
    const { rows } = await client.query<{ id: string; times: Buffer | null; points: Buffer | null }>(POINTS, [
      int8Array(readings.map(({ request }) => request.id)),
      float8Array(readings.map(({ after }) => after)),
    ]);
    const byId = new Map(rows.map((row) => [row.id, row]));
    let group: { core: SeriesCore; tokens: number }[] = [];
    let tokens = 0;
    for (const reading of readings) {
      const row = byId.get(String(reading.request.id));
      let times = readTimestampArray(row?.times ?? null);
      let values = readFloat8Array(row?.points ?? null);
      reading.done = times.length < PIECE;
      reading.points += times.length;
      if (times.length === 0) continue;
      reading.after = times.at(-1)!;
      if (!reading.core) {
        // Missing values before the first observation are no part of a series.
        const first = values.findIndex(Number.isFinite);
        if (first < 0) continue;
        times = times.subarray(first);
        values = values.subarray(first);
        reading.core = await this.create(client, reading, times, values);
      }
      if (!reading.core?.add(times, values)) continue;
      const size = Math.ceil(times.length / this.batch.model.config.patch);
      if (group.length > 0 && tokens + size > SCAN_TOKENS) {
        await this.advance(group.map(({ core }) => core));
        group = [];
        tokens = 0;
      }
      group.push({ core: reading.core, tokens: size });
      tokens += size;
    }
    await this.advance(group.map(({ core }) => core));
  }

  /** Takes in what was added to the cores. */
  async advance(cores: readonly SeriesCore[]): Promise<void> {
    await advanceAll(this.batch, cores);
  }

  /** A core before its first value, if the points show a grid. */
  private async create(
    client: Queryable,
    { request, frequency, season: stated }: Reading,
    times: Float64Array,
    values: Float64Array,
  ): Promise<SeriesCore | undefined> {
    const plan = planGrid(times.subarray(0, SETTLED_AFTER), frequency);
    if (!plan) return undefined;
    const grid = new SeriesGrid(plan);
    const season = stated ?? (await this.season(client, request, grid, times, values));
    const { model } = this.batch;
    const state = this.batch.newState({ season, frequency: plan.frequency });
    const core = { grid: plan, season, origin: grid.step(times[0]!), cutAt: null, kept: 0 };
    return new SeriesCore(core, new FeatureState(model.config, season), state);
  }

  /** The season of a series that states none, from its latest points. */
  private async season(
    client: Queryable,
    { id }: LoadRequest,
    grid: SeriesGrid,
    times: Float64Array,
    values: Float64Array,
  ): Promise<number> {
    let tail = { times, values };
    if (times.length === PIECE) {
      const { rows } = await client.query<{ times: Buffer | null; points: Buffer | null }>(
        `select array_send(array_agg(at order by at)) as times, array_send(array_agg(value order by at)) as points
         from (select at, value from points where series_id = $1 and at <= now() + interval '${MAX_LEAD_MS / 1000} seconds'
           order by at desc limit ${PIECE}) q`,
        [id],
      );
      tail = {
        times: readTimestampArray(rows[0]?.times ?? null),
        values: readFloat8Array(rows[0]?.points ?? null),
      };
    }
    const frequency = parseFrequency(grid.plan.frequency);
    const { season } = chooseSeason(onGrid(grid, tail.times, tail.values), frequency, undefined);
    const fine = ['min', 's', 'ms', 'us'].includes(frequency.unit);
    return season > 1 || fine ? season : defaultSeason(frequency);
  }
}

/** Takes in what was added to the cores, all of them as one batch. */
export async function advanceAll(batch: StreamBatch, cores: readonly SeriesCore[]): Promise<void> {
  const closed = cores.filter((core) => core.due).map((core) => core.close());
  const whole = closed.flatMap(({ patches }): Advance[] => (patches ? [patches] : []));
  if (whole.length > 0) await batch.advance(whole);
  for (const { between } of closed) between();
  const rest = closed.flatMap((one): Advance[] => (one.rest ? [one.rest] : []));
  if (rest.length > 0) await batch.advance(rest);
}

/** Values by step, from the first time on, at most one piece of steps. */
function onGrid(grid: SeriesGrid, times: Float64Array, values: Float64Array): Float64Array {
  const last = grid.step(times.at(-1)!);
  const first = Math.max(grid.step(times[0]!), last - PIECE + 1);
  const sums = new Float64Array(last - first + 1);
  const counts = new Uint32Array(sums.length);
  times.forEach((time, i) => {
    const step = grid.step(time) - first;
    if (step < 0 || !Number.isFinite(values[i]!)) return;
    sums[step]! += values[i]!;
    counts[step]!++;
  });
  return sums.map((sum, step) => (counts[step] ? sum / counts[step]! : Number.NaN));
}
