import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { filterOf } from '../out/output-json.js';
import { newRule, type Rule } from './rule.js';
import { type AlertRow, RuleStore } from './rule-store.js';

const ruleId = z.uuid({ error: 'expected the id of a rule' });

const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.uuid().optional().meta({ description: '`next` of the page before' }),
});

@ApiTags('alerts')
@Controller('v1/alerts')
export class AlertsController {
  private readonly rules: RuleStore;

  constructor(@InjectApi() api: ApiContext) {
    this.rules = new RuleStore(api.database, api.live.feed);
  }

  @Post('rules')
  @HttpCode(201)
  @Needs('write')
  @ApiOperation({
    summary:
      'Be told by a signed webhook about anomalies, forecasts that cross a threshold, or missing data. The secret is shown once',
  })
  async create(@Body({ schema: newRule }) input: z.output<typeof newRule>, @From() caller: Caller) {
    const { name, condition, url } = input;
    const { rule, secret } = await this.rules.create(caller.owner, name, { filter: filterOf(input), condition, url });
    return { ...shownRule(rule), secret };
  }

  @Get('rules')
  @Needs('read')
  @ApiOperation({ summary: 'Rules, with for how many series each fires' })
  async list(@From() caller: Caller) {
    const rules = await this.rules.list(caller.owner);
    return { rules: rules.map((rule) => ({ ...shownRule(rule), firing: rule.firing })) };
  }

  @Delete('rules/:id')
  @HttpCode(204)
  @Needs('write')
  @ApiOperation({ summary: 'Delete a rule with its alerts' })
  async remove(@Param('id', { schema: ruleId }) id: string, @From() caller: Caller): Promise<void> {
    await this.rules.remove(caller.owner, id);
  }

  @Get()
  @Needs('read')
  @ApiOperation({ summary: 'Alerts, newest first, and what became of their delivery' })
  async alerts(@Query({ schema: pageQuery }) query: z.output<typeof pageQuery>, @From() caller: Caller) {
    const alerts = await this.rules.alerts(caller.owner, query.limit, query.before);
    return { alerts: alerts.map(shownAlert), next: alerts.length === query.limit ? alerts.at(-1)!.id : null };
  }
}

const shownRule = ({ id, name, spec: { filter, condition, url } }: Rule) => ({
  id,
  name,
  ...('ids' in filter ? { series: filter.ids } : { prefix: filter.prefix }),
  condition,
  url,
});

const shownAlert = ({ createdAt, deliveredAt, nextAttemptAt, ...alert }: AlertRow) => ({
  ...alert,
  createdAt: createdAt.toISOString(),
  deliveredAt: deliveredAt?.toISOString() ?? null,
  nextAttemptAt: nextAttemptAt?.toISOString() ?? null,
});
