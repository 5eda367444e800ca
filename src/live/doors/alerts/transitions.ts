import { orderedId } from '../../../platform/ids.js';
import type { Queryable } from '../../../store/database.js';
import type { Rule } from './rule.js';

/** Channel of PostgreSQL on which senders hear of alerts. */
export const ALERTS_CHANNEL = 'adder_alerts';

/** What a rule was found to be for a series. */
export interface Finding {
  rule: Rule;
  seriesId: bigint;
  series: string;
  /** Undefined: the rule does not fire. */
  detail: object | undefined;
}

/**
 * Writes the rules that have begun or ceased to fire, and an alert for each: once, however many processes find it and however
 * often a transaction is tried again.
 */
export async function applyFindings(client: Queryable, findings: readonly Finding[]): Promise<void> {
  if (findings.length === 0) return;
  const key = (seriesId: bigint, ruleId: string) => `${seriesId} ${ruleId}`;
  // Of several findings for one pair the last one counts.
  const latest = new Map(findings.map((finding) => [key(finding.seriesId, finding.rule.id), finding]));
  // One order for all writers, so that no two wait for each other.
  const ordered = [...latest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, finding]) => finding);
  const begun = ordered.filter(({ detail }) => detail);
  const ceased = ordered.filter(({ detail }) => !detail);
  const changed: { series_id: bigint; rule_id: string }[] = [];
  if (begun.length > 0) {
    const { rows } = await client.query(
      `insert into alert_states (series_id, rule_id)
       select f.* from unnest($1::int8[], $2::uuid[]) f(series_id, rule_id)
       where exists (select from alert_rules where id = f.rule_id)
       on conflict do nothing returning series_id, rule_id`,
      columns(begun),
    );
    changed.push(...rows);
  }
  if (ceased.length > 0) {
    const { rows } = await client.query(
      `delete from alert_states where (series_id, rule_id) in (select * from unnest($1::int8[], $2::uuid[]))
       returning series_id, rule_id`,
      columns(ceased),
    );
    changed.push(...rows);
  }
  if (changed.length === 0) return;
  const alerts = changed.map(({ series_id, rule_id }) => latest.get(key(series_id, rule_id))!);
  await client.query(
    `insert into alerts (id, owner, rule_id, series_key, status, detail)
     select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[])`,
    [
      alerts.map(() => orderedId()),
      alerts.map(({ rule }) => rule.owner),
      alerts.map(({ rule }) => rule.id),
      alerts.map(({ series }) => series),
      alerts.map(({ detail }) => (detail ? 'firing' : 'resolved')),
      alerts.map(({ detail }) => JSON.stringify(detail ?? {})),
    ],
  );
  await client.query(`select pg_notify('${ALERTS_CHANNEL}', '')`);
}

const columns = (findings: readonly Finding[]) => [
  findings.map(({ seriesId }) => seriesId),
  findings.map(({ rule }) => rule.id),
];
