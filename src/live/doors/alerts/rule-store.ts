import { randomBytes } from 'node:crypto';
import { AdderError } from '../../../platform/errors.js';
import { orderedId } from '../../../platform/ids.js';
import type { Database, Queryable } from '../../../store/database.js';
import type { LiveFeed } from '../../feed.js';
import { horizonOf, type Rule, type RuleSpec } from './rule.js';

const MAX_RULES = 1000;

export interface AlertRow {
  id: string;
  rule: string;
  series: string;
  status: string;
  detail: object;
  createdAt: Date;
  attempts: number;
  deliveredAt: Date | null;
  nextAttemptAt: Date | null;
  lastError: string | null;
}

/** Every rule of every owner. */
export async function loadRules(client: Queryable): Promise<Rule[]> {
  const { rows } = await client.query<Rule>('select id, owner, name, spec from alert_rules order by id');
  return rows;
}

/** Rules of an owner; each has a standing demand for the forecasts that it looks at. */
export class RuleStore {
  constructor(
    private readonly database: Database,
    private readonly feed: LiveFeed,
  ) {}

  /** Keeps a rule and returns it with the secret that signs what it sends. Throws `TOO_MUCH`. */
  async create(owner: string, name: string, spec: RuleSpec): Promise<{ rule: Rule; secret: string }> {
    const rule = { id: orderedId(), owner, name, spec };
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const { rowCount } = await this.database.pool.query(
      `insert into alert_rules (id, owner, name, spec, secret)
       select $1, $2, $3, $4, $5 where (select count(*) from alert_rules where owner = $2) < $6`,
      [rule.id, owner, name, JSON.stringify(spec), secret, MAX_RULES],
    );
    if (!rowCount) {
      throw new AdderError({
        code: 'TOO_MUCH',
        message: `an account has at most ${MAX_RULES} rules`,
        fix: 'let one rule watch many series by their prefix',
      });
    }
    const horizon = horizonOf(spec.condition);
    if (horizon !== undefined) await this.feed.demand(owner, demandOf(rule.id), spec.filter, { horizon });
    return { rule, secret };
  }

  async list(owner: string): Promise<(Rule & { firing: number })[]> {
    const { rows } = await this.database.pool.query<Rule & { firing: number }>(
      `select id, owner, name, spec, (select count(*)::int from alert_states where rule_id = r.id) as firing
       from alert_rules r where owner = $1 order by id`,
      [owner],
    );
    return rows;
  }

  /** Throws `NOT_FOUND`. */
  async remove(owner: string, id: string): Promise<void> {
    const { rowCount } = await this.database.pool.query('delete from alert_rules where owner = $1 and id = $2', [
      owner,
      id,
    ]);
    if (!rowCount) {
      throw new AdderError({
        code: 'NOT_FOUND',
        message: 'there is no such rule',
        fix: 'list them with GET /v1/alerts/rules',
      });
    }
    await this.feed.release(owner, demandOf(id));
  }

  /** Alerts, newest first. */
  async alerts(owner: string, limit: number, before: string | undefined): Promise<AlertRow[]> {
    const { rows } = await this.database.pool.query<AlertRow>(
      `select id, rule_id as rule, series_key as series, status, detail, created_at as "createdAt", attempts,
         delivered_at as "deliveredAt", next_attempt_at as "nextAttemptAt", last_error as "lastError"
       from alerts where owner = $1 and ($3::uuid is null or id < $3::uuid) order by id desc limit $2`,
      [owner, limit, before ?? null],
    );
    return rows;
  }
}

const demandOf = (id: string) => `alert:${id}`;
