import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { type KeyInfo, LOCAL_OWNER, SCOPES } from '../../http/auth/api-keys.js';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { RequestError } from '../request-error.js';

const limit = (max: number) => z.int().min(1).max(max).optional();

const keyInput = z
  .strictObject({
    name: z.string().min(1).max(128),
    owner: z
      .string()
      .regex(/^[A-Za-z0-9_.@-]{1,64}$/, { error: 'expected 1 to 64 letters, digits, _ . @ or -' })
      .optional()
      .meta({ description: 'account that the key belongs to; all keys of an account see the same series and jobs' }),
    scopes: z.array(z.enum(SCOPES)).min(1).optional().meta({ description: 'all but admin when absent' }),
    expiresAt: z.iso.datetime({ offset: true }).optional(),
    limits: z
      .strictObject({
        ratePerMinute: limit(10_000_000),
        rateBurst: limit(1_000_000),
        bodyMb: limit(1024),
        seriesPerRequest: limit(1_000_000),
        pointsPerRequest: limit(100_000_000),
      })
      .optional(),
  })
  .meta({ id: 'KeyInput' });

const uuid = z.uuid({ error: 'expected the id of a key' });

@ApiTags('keys')
@Needs('admin')
@Controller('v1/keys')
export class KeysController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @ApiOperation({
    summary: 'Create an API key; its token is shown once. The first key is an admin key of the account "local"',
  })
  async create(@Body({ schema: keyInput }) input: z.output<typeof keyInput>, @From() caller: Caller) {
    const first = caller.key === undefined;
    if (first && input.owner !== undefined && input.owner !== LOCAL_OWNER) {
      throw new RequestError({
        status: 422,
        code: 'INVALID_REQUEST',
        message: `the first key belongs to the account ${LOCAL_OWNER}, which owns what was stored so far`,
        where: { field: 'owner' },
        fix: 'create the first key without an owner, then others with it',
      });
    }
    // Without an admin key nobody could make another one.
    const scopes = first ? SCOPES : (input.scopes ?? (['forecast', 'read', 'write'] as const));
    const { token, key } = await this.api.keys.create(input.owner ?? caller.owner, {
      name: input.name,
      scopes,
      ...(input.limits ? { limits: input.limits as Record<string, number> } : {}),
      expiresAt: input.expiresAt === undefined || first ? undefined : new Date(input.expiresAt),
    });
    return { token, ...shown(key) };
  }

  @Get()
  @ApiOperation({ summary: 'All keys, without their secrets' })
  async list() {
    return { keys: (await this.api.keys.list()).map(shown) };
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Revoke a key' })
  async revoke(@Param('id', { schema: uuid }) id: string): Promise<void> {
    await this.api.keys.revoke(id);
  }
}

const shown = ({ id, owner, name, prefix, scopes, limits, createdAt, expiresAt, revokedAt }: KeyInfo) => ({
  id,
  owner,
  name,
  prefix,
  scopes,
  limits,
  createdAt: createdAt.toISOString(),
  expiresAt: expiresAt?.toISOString() ?? null,
  revokedAt: revokedAt?.toISOString() ?? null,
});
