import type { Database } from '../store/database.js';
import type { SeriesFilter } from './feed.js';

/** Demands of connections end this long after the last sign of life of the process that holds them. */
export const DEMAND_MS = 60_000;

interface Demand {
  owner: string;
  filter: SeriesFilter;
  ids: ReadonlySet<string>;
  horizon: number;
}

/** Who wants forecasts: written by processes with doors, read by the owners of the states. */
export class Demands {
  private known = new Map<string, { version: string; demand: Demand }>();

  constructor(private readonly database: Database) {}

  /** Puts a demand, or replaces the one of this name. `lasting` ones stand until they are dropped. */
  async put(owner: string, name: string, filter: SeriesFilter, horizon: number, lasting: boolean): Promise<void> {
    await this.database.pool.query(
      `insert into live_demands (owner, name, ids, prefix, horizon, until)
       values ($1, $2, $3, $4, $5, case when $6 then null else now() + $7::interval end)
       on conflict (owner, name) do update set ids = excluded.ids, prefix = excluded.prefix, horizon = excluded.horizon, until = excluded.until`,
      [
        owner,
        name,
        'ids' in filter ? filter.ids : [],
        'prefix' in filter ? filter.prefix : null,
        horizon,
        lasting,
        `${DEMAND_MS} milliseconds`,
      ],
    );
  }

  /** A sign of life for demands that end otherwise. */
  async renew(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await this.database.pool.query(
      'update live_demands set until = now() + $2::interval where name = any($1) and until is not null',
      [names, `${DEMAND_MS} milliseconds`],
    );
  }

  async drop(owner: string, name: string): Promise<void> {
    await this.database.pool.query('delete from live_demands where owner = $1 and name = $2', [owner, name]);
  }

  /** Reads what has changed; returns the demands that are new or different, and whether any is gone. */
  async refresh(): Promise<{ changed: Demand[]; gone: boolean }> {
    const { rows } = await this.database.pool.query<{ key: string; owner: string; name: string; version: string }>(
      `with ended as (delete from live_demands where until < now())
       select owner || E'\\n' || name as key, owner, name, md5(concat(ids::text, '/', prefix, '/', horizon)) as version
       from live_demands where until is null or until >= now()`,
    );
    const changedKeys = rows.filter(({ key, version }) => this.known.get(key)?.version !== version);
    const present = new Set(rows.map(({ key }) => key));
    let gone = false;
    for (const key of this.known.keys()) {
      if (present.has(key)) continue;
      this.known.delete(key);
      gone = true;
    }
    const changed: Demand[] = [];
    for (const { key, owner, name, version } of changedKeys) {
      const found = await this.database.prisma.liveDemand.findUnique({ where: { owner_name: { owner, name } } });
      if (!found) continue;
      const filter = found.prefix === null ? { ids: found.ids } : { prefix: found.prefix };
      const demand = { owner, filter, ids: new Set(found.ids), horizon: found.horizon };
      this.known.set(key, { version, demand });
      changed.push(demand);
    }
    return { changed, gone };
  }

  /** The longest horizon that is demanded of a series; 0 when nobody wants any. */
  horizon(owner: string, series: string): number {
    let horizon = 0;
    for (const { demand } of this.known.values()) {
      if (demand.owner === owner && demand.horizon > horizon && matches(demand, series)) horizon = demand.horizon;
    }
    return horizon;
  }
}

const matches = ({ filter, ids }: Demand, series: string) =>
  'prefix' in filter ? series.startsWith(filter.prefix) : ids.has(series);
