import { Controller, Get, HttpCode, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { RequestError } from '../../../platform/request-error.js';
import { bytesOf } from '../body.js';
import { type LineBatch, LineParser, type Precision } from './line-parser.js';
import { parseLines } from './parse-lines.js';

const text = z.string().max(256).optional();
const write2Query = z.object({ bucket: text, precision: text });
const write1Query = z.object({ db: text, rp: text, precision: text });
const statement = z.object({ q: z.string().max(4096).optional() });

/** Lines told in one error. */
const TOLD = 20;

/** The write doors of InfluxDB 2 and 1, for Telegraf and the client libraries. */
@ApiExcludeController()
@Controller()
export class InfluxController {
  private readonly parser = new LineParser();

  constructor(@InjectApi() private readonly api: ApiContext) {}

  /** InfluxDB 2: 204 when all is committed. A line that is not understood refuses the whole body. */
  @Post('api/v2/write')
  @HttpCode(204)
  @Needs('write')
  async write2(
    @Req() request: FastifyRequest,
    @Query({ schema: write2Query }) query: z.output<typeof write2Query>,
    @From() caller: Caller,
  ): Promise<void> {
    const precision = PRECISIONS_2.get(query.precision || 'ns');
    if (!precision) throw refused(400, 'invalid precision; valid precision units are ns, us, ms, and s');
    const body = bytesOf(request);
    if (body.length === 0) throw refused(400, 'writing requires points');
    const batch = await this.parse(body, precision, query.bucket, caller);
    if (batch.badLines > 0) throw refused(400, reasonOf(batch));
    const dropped = await this.write(caller, batch);
    if (dropped) throw refused(422, `failure writing points to database: ${dropped}`);
  }

  /** InfluxDB 1: 204 when all is committed, otherwise 400 with what was left out; the other lines are committed. */
  @Post('write')
  @HttpCode(204)
  @Needs('write')
  async write1(
    @Req() request: FastifyRequest,
    @Query({ schema: write1Query }) query: z.output<typeof write1Query>,
    @From() caller: Caller,
  ): Promise<void> {
    const precision = PRECISIONS_1.get(query.precision || 'n');
    if (!precision) throw refused(400, `invalid precision ${JSON.stringify(query.precision)}`);
    const database = query.db && query.rp ? `${query.db}/${query.rp}` : query.db;
    const batch = await this.parse(bytesOf(request), precision, database, caller);
    if (batch.points.length === 0 && batch.badLines > 0) throw refused(400, reasonOf(batch));
    const dropped = await this.write(caller, batch);
    if (dropped) throw refused(400, dropped);
    if (batch.badLines > 0) throw refused(400, `partial write: ${reasonOf(batch)} dropped=0`);
  }

  /** Clients of version 1 create their database first. There is none to create. */
  @Post('query')
  @HttpCode(200)
  @Needs('write')
  query(
    @Req() request: FastifyRequest,
    @Query({ schema: statement }) query: z.output<typeof statement>,
  ): { results: { statement_id: number }[] } {
    const form = new URLSearchParams(Buffer.from(bytesOf(request)).toString('utf8'));
    if (/^\s*create\s+database\b/i.test(query.q ?? form.get('q') ?? '')) return { results: [{ statement_id: 0 }] };
    throw refused(400, 'only CREATE DATABASE is understood here, and it does nothing');
  }

  @Get('ping')
  @HttpCode(204)
  @Needs('write')
  ping(@Res({ passthrough: true }) reply: FastifyReply): void {
    reply.header('x-influxdb-build', 'Adder');
  }

  private async parse(
    body: Uint8Array,
    precision: Precision,
    space: string | undefined,
    { limits }: Caller,
  ): Promise<LineBatch> {
    const maxPoints = limits.pointsPerRequest;
    const batch = await parseLines(this.parser, body, { precision, maxPoints, prefix: space ? `${space}/` : '' });
    if (batch.points.length > maxPoints || batch.points.ids.length > limits.seriesPerRequest) {
      throw refused(413, 'unable to read data: points batch is too large');
    }
    return batch;
  }

  /** Commits what can be stored; returns what could not, as InfluxDB says it. */
  private async write(caller: Caller, { points }: LineBatch): Promise<string | undefined> {
    if (points.length === 0) return undefined;
    const { rejected } = await this.api.live.ingest.write(caller, points, {
      partial: true,
      describe: (series) => this.parser.keys.describe(series),
    });
    if (rejected.length === 0) return undefined;
    return `partial write: ${rejected[0]!.message} dropped=${rejected.length}`;
  }
}

const PRECISIONS_2 = new Map<string, Precision>([
  ['ns', 'ns'],
  ['us', 'us'],
  ['ms', 'ms'],
  ['s', 's'],
]);
const PRECISIONS_1 = new Map<string, Precision>([
  ...PRECISIONS_2,
  ['n', 'ns'],
  ['u', 'us'],
  ['µ', 'us'],
  ['m', 'm'],
  ['h', 'h'],
]);

function reasonOf({ bad, badLines }: LineBatch): string {
  const told = bad.slice(0, TOLD).map(({ text, message }) => `unable to parse '${text}': ${message}`);
  if (badLines > told.length) told.push(`and ${badLines - told.length} more lines`);
  return told.join('\n');
}

const refused = (status: number, message: string) => new RequestError({ status, code: 'LINE_PROTOCOL', message });
