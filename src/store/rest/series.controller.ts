import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query, Req } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { jsonNumbers } from '../../forecast/rest/levels.js';
import { parseFrequency } from '../../forecast/time/frequency.js';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { AdderError } from '../../platform/errors.js';
import type { Series } from '../series.js';
import { instantReader, readPoints } from './read-points.js';
import { changedSeries, listQuery, newSeries, placeQuery, pointsQuery, rangeQuery } from './schemas.js';
import { writePoints } from './write-points.js';

const name = z.string().min(1).max(256);

@ApiTags('series')
@Controller('v1/series')
export class SeriesController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @Needs('write')
  @ApiOperation({ summary: 'Create a series; one that exists keeps its fields' })
  async create(@Body({ schema: newSeries }) input: z.output<typeof newSeries>, @From() caller: Caller) {
    const { id, frequency, season, metadata } = input;
    checkFrequency(frequency);
    const fields = { uniqueId: id, freq: frequency ?? null, season: season ?? null, metadata: metadata ?? {} };
    const rows = await this.api.series.ensure(caller.owner, [fields], caller.limits.storedSeries);
    return shown(rows.get(id)!);
  }

  @Get()
  @Needs('read')
  @ApiOperation({ summary: 'Series in the order of their names' })
  async list(@Query({ schema: listQuery }) query: z.output<typeof listQuery>, @From() caller: Caller) {
    const { series, next } = await this.api.series.list(caller.owner, query);
    return { series: series.map(shown), next: next ?? null };
  }

  @Get(':id')
  @Needs('read')
  @ApiOperation({ summary: 'One series, with how many points it has and from when to when' })
  async get(@Param('id', { schema: name }) id: string, @From() caller: Caller) {
    const row = await this.api.series.get(caller.owner, id);
    const { count, first, last } = await this.api.reader.statistics(row.id);
    return { ...shown(row), points: count, first: instant(first), last: instant(last) };
  }

  @Patch(':id')
  @Needs('write')
  @ApiOperation({ summary: 'Change the fields that are given' })
  async change(
    @Param('id', { schema: name }) id: string,
    @Body({ schema: changedSeries }) input: z.output<typeof changedSeries>,
    @From() caller: Caller,
  ) {
    const { frequency, season, metadata } = input;
    checkFrequency(frequency);
    return shown(
      await this.api.live.changes.describe(caller.owner, id, {
        ...(frequency === undefined ? {} : { freq: frequency }),
        ...(season === undefined ? {} : { season }),
        ...(metadata === undefined ? {} : { metadata }),
      }),
    );
  }

  @Delete(':id')
  @HttpCode(204)
  @Needs('write')
  @ApiOperation({ summary: 'Delete a series with its points, states and results' })
  async remove(@Param('id', { schema: name }) id: string, @From() caller: Caller): Promise<void> {
    await this.api.series.remove(caller.owner, id);
  }

  @Post(':id/points')
  @HttpCode(200)
  @Needs('write')
  @ApiOperation({ summary: 'Write points of one series: JSON by column, NDJSON, or CSV with ds and y' })
  @ApiBody({ schema: { $ref: '#/components/schemas/SeriesPoints' } })
  async write(
    @Param('id', { schema: name }) id: string,
    @Req() request: FastifyRequest,
    @Query({ schema: placeQuery }) place: z.output<typeof placeQuery>,
    @From() caller: Caller,
  ) {
    const points = await readPoints(request, id, caller.limits.pointsPerRequest);
    return writePoints(this.api, caller, points, place);
  }

  @Get(':id/points')
  @Needs('read')
  @ApiOperation({ summary: 'Points of a series, or with buckets its course in intervals of equal length' })
  async read(
    @Param('id', { schema: name }) id: string,
    @Query({ schema: pointsQuery }) query: z.output<typeof pointsQuery>,
    @From() caller: Caller,
  ) {
    const row = await this.api.series.get(caller.owner, id);
    const range = rangeOf(query);
    if (query.buckets !== undefined) {
      const found = await this.api.reader.downsample(row.id, { ...range, buckets: query.buckets });
      return {
        id,
        stepMs: found.stepMs,
        timestamps: Array.from(found.times, instant),
        mean: jsonNumbers(found.mean),
        min: jsonNumbers(found.min),
        max: jsonNumbers(found.max),
        count: jsonNumbers(found.count),
      };
    }
    const { times, values } = await this.api.reader.read(row.id, {
      ...range,
      limit: query.limit,
      last: query.last === 'true',
    });
    return { id, timestamps: Array.from(times, instant), values: jsonNumbers(values) };
  }

  @Delete(':id/points')
  @HttpCode(200)
  @Needs('write')
  @ApiOperation({ summary: 'Delete the points of [from, to)' })
  async removePoints(
    @Param('id', { schema: name }) id: string,
    @Query({ schema: rangeQuery }) query: z.output<typeof rangeQuery>,
    @From() caller: Caller,
  ) {
    const { from, to } = rangeOf(query);
    if (from === undefined || to === undefined) {
      throw new AdderError({
        code: 'INVALID_REQUEST',
        message: 'from and to are needed',
        where: { field: from === undefined ? 'from' : 'to' },
        fix: 'give both; to remove everything, delete the series',
      });
    }
    const row = await this.api.series.get(caller.owner, id);
    return { removed: await this.api.live.changes.removeRange(row.id, from, to) };
  }
}

@ApiTags('series')
@Controller('v1/points')
export class PointsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @HttpCode(200)
  @Needs('write')
  @ApiOperation({ summary: 'Write points of many series: JSON by column, NDJSON, or CSV with unique_id, ds and y' })
  @ApiBody({ schema: { $ref: '#/components/schemas/Points' } })
  async write(
    @Req() request: FastifyRequest,
    @Query({ schema: placeQuery }) place: z.output<typeof placeQuery>,
    @From() caller: Caller,
  ) {
    const points = await readPoints(request, undefined, caller.limits.pointsPerRequest);
    return writePoints(this.api, caller, points, place);
  }
}

function checkFrequency(frequency: string | null | undefined): void {
  if (frequency === null || frequency === undefined) return;
  try {
    parseFrequency(frequency);
  } catch (error) {
    throw error instanceof AdderError ? error.at({ field: 'frequency' }) : error;
  }
}

function rangeOf(query: { from?: string | undefined; to?: string | undefined }): { from?: number; to?: number } {
  const read = (text: string | undefined, field: string) => {
    if (text === undefined) return {};
    try {
      const ms = /^-?\d+$/.test(text) && text.length > 4 ? Number(text) : instantReader()(text);
      return { [field]: ms };
    } catch (error) {
      throw error instanceof AdderError ? error.at({ field }) : error;
    }
  };
  return { ...read(query.from, 'from'), ...read(query.to, 'to') };
}

const instant = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

const shown = ({ uniqueId, freq, season, metadata, createdAt, updatedAt }: Series) => ({
  id: uniqueId,
  frequency: freq,
  season,
  metadata,
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});
