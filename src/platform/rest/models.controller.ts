import { Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { ModelStore, type StoredModel } from '../../store/models.js';
import { catalogue, isCatalogued, requireModel } from './model-catalogue.js';

@ApiTags('models')
@Needs('forecast')
@Controller('v1/models')
export class ModelsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Get()
  @ApiOperation({ summary: 'Models that a request may name, and what runs the default one' })
  async list(@From() caller: Caller) {
    const tuned = await new ModelStore(this.api.database).list(caller.owner);
    const engine = await this.api.engine.describe();
    // Workers run every network on the same device; where the default is none, one is asked about.
    const { backend } = engine.backend === 'javascript' ? await this.api.engine.describe('adder') : engine;
    return {
      default: this.api.config.model,
      engine,
      models: [
        ...catalogue().map(({ card: _, ...entry }) => ({
          ...entry,
          backend: entry.kind === 'statistical' ? 'javascript' : backend,
        })),
        ...tuned.map((model) => ({ ...shown(model), backend })),
      ],
    };
  }

  @Get(':name')
  @ApiOperation({ summary: 'One model with its card, and what runs it' })
  async get(@Param('name') name: string, @From() caller: Caller): Promise<object> {
    const engine = await this.api.forecasts.describe(caller.owner, name);
    if (isCatalogued(name)) return { ...requireModel(name), engine };
    return { ...shown(await new ModelStore(this.api.database).get(caller.owner, name)), engine };
  }

  @Delete(':name')
  @HttpCode(204)
  @Needs('write')
  @ApiOperation({ summary: 'Delete a model that the account fine-tuned, with its weights and states' })
  async remove(@Param('name') name: string, @From() caller: Caller): Promise<void> {
    await new ModelStore(this.api.database).remove(caller.owner, name);
  }
}

const shown = ({ id, base, digest, card, createdAt }: StoredModel) => ({
  name: id,
  kind: 'fine-tuned',
  base,
  digest,
  card,
  createdAt: createdAt.toISOString(),
});
