import type { Queryable } from '../../../store/database.js';
import type { LiveOutput, OutputHook } from '../../feed.js';
import { concerns, decides, findingOf, type Rule } from './rule.js';
import { loadRules } from './rule-store.js';
import { applyFindings, type Finding } from './transitions.js';

/** Evaluates the rules in the transaction that commits the outputs: what fires is told exactly once for each output. */
export class AlertHook implements OutputHook {
  private byOwner = new Map<string, Rule[]>();
  /** Of the rules that were loaded. Rules come and go but do not change. */
  private version = '';

  async within(client: Queryable, outputs: readonly LiveOutput[]): Promise<void> {
    const { rows } = await client.query<{ version: string }>({ name: 'adder_alert_version', text: VERSION });
    if (rows[0]!.version !== this.version) {
      this.byOwner = grouped(await loadRules(client));
      this.version = rows[0]!.version;
    }
    if (this.byOwner.size === 0) return;
    const findings: Finding[] = [];
    for (const output of outputs) {
      for (const rule of this.byOwner.get(output.owner) ?? []) {
        const { condition } = rule.spec;
        if (!concerns(rule.spec, output.series) || !decides(condition, output)) continue;
        const { series, seriesId } = output;
        findings.push({ rule, series, seriesId, detail: findingOf(condition, output) });
      }
    }
    await applyFindings(client, findings);
  }
}

/** Another one after every rule that is made or removed. */
const VERSION = `select count(*) || ' ' || coalesce((select id::text from alert_rules order by id desc limit 1), '') as version from alert_rules`;

function grouped(rules: readonly Rule[]): Map<string, Rule[]> {
  const groups = new Map<string, Rule[]>();
  for (const rule of rules) groups.set(rule.owner, [...(groups.get(rule.owner) ?? []), rule]);
  return groups;
}
