import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { EventStream } from './event-stream.js';
import { exposition } from './exposition.js';
import { eventsOf, filterOf } from './output-json.js';
import { StandingSubscriptions } from './standing-subscriptions.js';
import { scrapeQuery, wantedQuery } from './wanted-query.js';

/** Series of one scrape. */
const MAX_SCRAPED = 10_000;
const PAGE = 1000;

@ApiTags('live')
@Controller('v1/live')
export class OutputsController {
  private readonly standing: StandingSubscriptions;

  constructor(@InjectApi() private readonly api: ApiContext) {
    this.standing = new StandingSubscriptions(api.live.feed, (error) =>
      api.log.warn({ err: error }, 'a subscription did not end'),
    );
  }

  @Get('events')
  @Needs('read')
  @ApiOperation({
    summary:
      'Server-sent events: forecasts and anomalies of live series as they come. A slow client loses the oldest and hears `dropped`',
  })
  async events(
    @Query({ schema: wantedQuery }) query: z.output<typeof wantedQuery>,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const stream = new EventStream();
    const { horizon } = query;
    const subscription = await this.api.live.feed.subscribe(
      caller.owner,
      filterOf(query),
      horizon === undefined ? {} : { horizon },
      (output) => {
        for (const event of eventsOf(output, query)) stream.send(event);
      },
    );
    const end = () => {
      stream.destroy();
      subscription.close().catch((error) => this.api.log.warn({ err: error }, 'a subscription did not end'));
    };
    reply.raw.once('close', end);
    if (request.raw.socket.destroyed) end();
    reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('x-accel-buffering', 'no')
      .send(stream.on('error', () => reply.raw.destroy()));
  }

  @Get('metrics')
  @Needs('read')
  @ApiOperation({
    summary: 'Present forecasts for Prometheus to scrape; they go on for ten minutes after the last scrape',
  })
  async metrics(
    @Query({ schema: scrapeQuery }) query: z.output<typeof scrapeQuery>,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<string> {
    const filter = filterOf(query);
    await this.standing.renew(caller.owner, filter, Math.max(...query.step));
    const outputs = [];
    for (let after: string | undefined; outputs.length < MAX_SCRAPED; ) {
      const page = await this.api.live.feed.latest(caller.owner, filter, {
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      outputs.push(...page);
      if (page.length < PAGE) break;
      after = page.at(-1)!.series;
    }
    reply.header('content-type', 'text/plain; version=0.0.4; charset=utf-8');
    return exposition(outputs, query.step);
  }
}
