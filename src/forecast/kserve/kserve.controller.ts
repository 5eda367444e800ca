import { Body, Controller, Get, HttpCode, Param, Post, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { type Caller, From, Needs, Open } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { withDeadline } from '../../http/deadline.js';
import { INPUTS, infer, inferRequest, OUTPUTS } from './infer.js';

const model = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, { error: 'expected the name of a model' });

/** The Open Inference Protocol, version 2, as KServe speaks it; it shares /v2 with the Nixtla protocol. */
@ApiTags('kserve')
@Needs('forecast')
@Controller('v2')
export class KserveController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Get()
  @Open()
  @ApiOperation({ summary: 'What this server is' })
  server() {
    return { name: 'adder', version: '1', extensions: ['binary_tensor_data'] };
  }

  @Get('health/live')
  @Open()
  @ApiOperation({ summary: 'The process runs' })
  live() {
    return { live: true };
  }

  @Get('health/ready')
  @Open()
  @ApiOperation({ summary: '200 when ready, else 503' })
  async ready(@Res({ passthrough: true }) reply: FastifyReply) {
    const { ready } = await this.api.readiness.report();
    if (!ready) reply.status(503);
    return { ready };
  }

  @Get(['models/:model', 'models/:model/versions/1'])
  @ApiOperation({ summary: 'Tensors that a model takes and gives' })
  async metadata(@Param('model', { schema: model }) name: string, @From() caller: Caller) {
    const { backend } = await this.api.forecasts.describe(caller.owner, name);
    return { name, versions: ['1'], platform: `adder_${backend}`, inputs: INPUTS, outputs: OUTPUTS };
  }

  @Get(['models/:model/ready', 'models/:model/versions/1/ready'])
  @ApiOperation({ summary: 'Whether a model is loaded; loads it' })
  async modelReady(@Param('model', { schema: model }) name: string, @From() caller: Caller) {
    await this.api.forecasts.describe(caller.owner, name);
    return { name, ready: true };
  }

  @Post(['models/:model/infer', 'models/:model/versions/1/infer'])
  @HttpCode(200)
  @ApiOperation({ summary: 'Quantiles of the future of each row of `history`' })
  async infer(
    @Param('model', { schema: model }) name: string,
    @Body({ schema: inferRequest }) body: z.output<typeof inferRequest>,
    @From() caller: Caller,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    const { json, tails } = await withDeadline(this.api.config.server.syncTimeoutMs, reply, (signal) =>
      infer(this.api.forecasts, caller, name, body, signal),
    );
    if (tails.length === 0) return json;
    const head = Buffer.from(JSON.stringify(json));
    reply
      .header('content-type', 'application/octet-stream')
      .header('inference-header-content-length', String(head.byteLength));
    return Buffer.concat([head, ...tails]);
  }
}
