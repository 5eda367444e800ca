import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { type Caller, From, mustHave, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { ObjectStore } from '../../store/objects.js';
import { isPointType, mediaType, noPointType } from '../../store/rest/read-points.js';
import { type NewFlowBody, newFlow } from './schemas.js';
import { startFlow } from './start-jobs.js';

/** How long an upload waits for its import. */
const UPLOAD_MS = 24 * 3_600_000;

/** Files that jobs import, and what follows their import. */
@ApiTags('jobs')
@Needs('write')
@Controller('v1')
export class FlowsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post('uploads')
  @HttpCode(201)
  @ApiOperation({ summary: 'Leave a file of points (CSV or NDJSON) for an import; it is kept for a day' })
  @ApiConsumes('text/csv', 'application/x-ndjson')
  @ApiBody({ schema: { type: 'string', format: 'binary' } })
  async upload(@Req() request: FastifyRequest, @From() caller: Caller) {
    const type = mediaType(request);
    const { body } = request;
    if (!isPointType(type) || !(body instanceof Uint8Array)) throw noPointType(type);
    const objects = new ObjectStore(this.api.database);
    const id = await objects.put(caller.owner, { kind: 'upload', meta: { type }, keepMs: UPLOAD_MS }, body);
    const { size, expiresAt } = await objects.info(caller.owner, id);
    return { id, type, size, expiresAt: expiresAt?.toISOString() ?? null };
  }

  @Post('flows')
  @HttpCode(202)
  @ApiOperation({ summary: 'Import a file, backfill the series in it, and report what was found' })
  async flow(@Body({ schema: newFlow }) body: NewFlowBody, @From() caller: Caller) {
    mustHave(caller, 'forecast');
    const [report, backfill, imported] = await startFlow(this.api, caller, body);
    return { id: report, jobs: { import: imported, backfill, report } };
  }
}
