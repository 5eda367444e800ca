import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { RequestError } from '../../../platform/request-error.js';
import { EventStream } from './event-stream.js';
import { exposition } from './exposition.js';
import { eventsOf, filterOf } from './output-json.js';
import { StandingSubscriptions } from './standing-subscriptions.js';
import { scrapeQuery, wantedQuery } from './wanted-query.js';

/** Series of one scrape. */
const MAX_SCRAPED = 10_000;
const PAGE = 1000;
/** Event streams of one account in one process. */
const MAX_STREAMS = 1000;

@ApiTags('live')
@Controller('v1/live')
export class OutputsController {
  private readonly standing: StandingSubscriptions;
  private readonly streams = new Map<string, number>();

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
    const { owner } = caller;
    const { horizon } = query;
    const filter = filterOf(query);
    this.count(owner, 1);
    const stream = new EventStream();
    const subscription = await this.api.live.feed
      .subscribe(owner, filter, horizon === undefined ? {} : { horizon }, (output) => {
        for (const event of eventsOf(output, query)) stream.send(event);
      })
      .catch((error) => {
        this.count(owner, -1);
        stream.destroy();
        throw error;
      });
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      this.count(owner, -1);
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

  private count(owner: string, change: number): void {
    const count = (this.streams.get(owner) ?? 0) + change;
    if (change > 0 && count > MAX_STREAMS) {
      throw new RequestError({
        status: 429,
        code: 'TOO_MANY_CONNECTIONS',
        message: `${MAX_STREAMS} event streams of this account are open`,
        fix: 'listen to many series with one stream, by a prefix',
        retryAfter: 10,
      });
    }
    if (count > 0) this.streams.set(owner, count);
    else this.streams.delete(owner);
  }
}
