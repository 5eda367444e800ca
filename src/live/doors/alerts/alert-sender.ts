import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../../store/database.js';
import { findMissing } from './missing-data.js';
import type { RuleSpec } from './rule.js';
import { type AllowedHosts, sendWebhook } from './webhook.js';

/** How often senders look for alerts, and the clock is asked for missing data. */
const LOOK_MS = 1000;
const MISSING_MS = 5000;
/** Alerts that are finished are kept for so long. */
const KEPT_DAYS = 30;
const PURGE_MS = 3_600_000;
/** Alerts under way at a time, and how long one belongs to the process that took it. */
const TOGETHER = 20;
const TAKEN_S = 60;
/** Pauses double from the first to the longest; after so many attempts, about a day and a half, an alert is given up. */
const FIRST_PAUSE_S = 2;
const LONGEST_PAUSE_S = 3600;
const ATTEMPTS = 48;

interface Due {
  id: string;
  series: string;
  status: string;
  detail: object;
  createdAt: Date;
  attempts: number;
  ruleId: string;
  name: string;
  spec: RuleSpec;
  secret: string;
}

export interface SenderOptions {
  database: Database;
  allowed: AllowedHosts;
  onError(error: unknown): void;
}

/**
 * Sends alerts as they come, and again until they are taken. Any number of processes may send: an alert belongs to the one
 * that took it, for a minute. A receiver may get one twice, and knows it by its `webhook-id`.
 */
export class AlertSender {
  private readonly stopping = new AbortController();
  private readonly loops: Promise<void>[];

  constructor(private readonly options: SenderOptions) {
    this.loops = [
      this.every(LOOK_MS, () => this.sendDue()),
      this.every(MISSING_MS, () => findMissing(options.database)),
      this.every(PURGE_MS, () => this.purge()),
    ];
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.loops);
  }

  private async every(ms: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await work();
      } catch (error) {
        this.options.onError(error);
      }
      await sleep(ms, undefined, { signal }).catch(() => {});
    }
  }

  private async purge(): Promise<void> {
    await this.options.database.pool.query(
      'delete from alerts where next_attempt_at is null and created_at < now() - make_interval(days => $1)',
      [KEPT_DAYS],
    );
  }

  private async sendDue(): Promise<void> {
    for (let due: Due[]; !this.stopping.signal.aborted; ) {
      due = await this.take();
      if (due.length === 0) return;
      await Promise.all(due.map((alert) => this.send(alert)));
    }
  }

  /** Takes alerts whose time has come. An older alert of the same rule and series goes first. */
  private async take(): Promise<Due[]> {
    const { rows } = await this.options.database.pool.query<Due>(
      `with due as (
         select id from alerts a where next_attempt_at <= now() and not exists (
           select from alerts b where b.rule_id = a.rule_id and b.series_key = a.series_key and b.id < a.id and b.next_attempt_at is not null)
         order by next_attempt_at limit $1 for update skip locked),
       taken as (
         update alerts a set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
         from due where a.id = due.id returning a.*)
       select t.id, t.series_key as series, t.status, t.detail, t.created_at as "createdAt", t.attempts,
         r.id as "ruleId", r.name, r.spec, r.secret
       from taken t join alert_rules r on r.id = t.rule_id`,
      [TOGETHER, TAKEN_S],
    );
    return rows;
  }

  private async send(alert: Due): Promise<void> {
    const { id, series, status, detail, createdAt, ruleId, name, spec, secret } = alert;
    const body = JSON.stringify({
      type: `alert.${status}`,
      timestamp: createdAt.toISOString(),
      data: { rule: ruleId, name, series, status, condition: spec.condition, ...detail },
    });
    try {
      await sendWebhook(spec.url, secret, { id, body, at: new Date() }, this.options.allowed);
      await this.finish(id, null, null);
    } catch (error) {
      const { message } = error as Error;
      const pause = Math.min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (alert.attempts - 1)) * (0.75 + Math.random() / 2);
      await this.finish(id, message.slice(0, 500), alert.attempts >= ATTEMPTS ? null : pause);
    }
  }

  private async finish(id: string, failure: string | null, pauseS: number | null): Promise<void> {
    await this.options.database.pool.query(
      `update alerts set last_error = $2, next_attempt_at = now() + make_interval(secs => $3),
         delivered_at = case when $2::text is null then now() end where id = $1`,
      [id, failure, pauseS],
    );
  }
}
