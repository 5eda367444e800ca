import type { Database } from '../../../store/database.js';
import type { Rule } from './rule.js';
import { loadRules } from './rule-store.js';
import { applyFindings, type Finding } from './transitions.js';

interface Row {
  id: bigint;
  series: string;
  /** Time of the latest point that has a value. */
  last: Date | null;
  firing: boolean;
}

/**
 * Looks for series that should have had a value by now, and for those that have one again. The clock decides here, so the
 * owner of the states cannot. A series that never had a value is not missed.
 */
export async function findMissing(database: Database, now = Date.now()): Promise<void> {
  for (const rule of await loadRules(database.pool)) {
    const { condition } = rule.spec;
    if (condition.kind !== 'missing') continue;
    const oldest = now - condition.afterSeconds * 1000;
    const findings: Finding[] = [];
    for (const { id, series, last, firing } of await lastPoints(database, rule)) {
      const late = last !== null && last.getTime() < oldest;
      if (late === firing) continue;
      findings.push({ rule, seriesId: id, series, detail: late ? { last: last.toISOString() } : undefined });
    }
    if (findings.length > 0) await database.transaction((client) => applyFindings(client, findings));
  }
}

async function lastPoints(database: Database, { id, owner, spec: { filter } }: Rule): Promise<Row[]> {
  const [where, value] =
    'ids' in filter ? ['unique_id = any($2)', filter.ids] : ['starts_with(unique_id, $2)', filter.prefix];
  const { rows } = await database.pool.query<Row>(
    `select s.id, s.unique_id as series, p.at as last,
       exists (select from alert_states where series_id = s.id and rule_id = $3) as firing from series s
     left join lateral (select at from points where series_id = s.id and value is not null order by at desc limit 1) p on true
     where s.owner = $1 and ${where}`,
    [owner, value, id],
  );
  return rows;
}
