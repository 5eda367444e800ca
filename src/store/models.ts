import type { Prisma } from '../generated/prisma/client.js';
import { AdderError, quote } from '../platform/errors.js';
import type { Database } from './database.js';
import { ObjectStore } from './objects.js';

export interface StoredModel {
  id: string;
  /** Model that it was fine-tuned from. */
  base: string;
  /** Digest of the weights. */
  digest: string;
  objectId: string;
  card: Prisma.JsonValue;
  createdAt: Date;
}

/** Models that owners fine-tuned; the weights lie in the object store. */
export class ModelStore {
  private readonly objects: ObjectStore;

  constructor(private readonly database: Database) {
    this.objects = new ObjectStore(database);
  }

  /**
   * Keeps a model with its weights. The same id with the same digest is a repetition and changes nothing.
   * Throws `BAD_MODEL_ID`, and `MODEL_EXISTS` when the owner has another model of this id.
   */
  async put(
    owner: string,
    model: { id: string; base: string; digest: string; card: Prisma.InputJsonObject },
    weights: Uint8Array,
  ): Promise<void> {
    if (!/^[a-zA-Z0-9_-]{1,36}$/.test(model.id)) {
      throw new AdderError({
        code: 'BAD_MODEL_ID',
        message: `${quote(model.id)} cannot name a model`,
        fix: 'use 1 to 36 letters, digits, - and _',
      });
    }
    await this.database.transaction(async (client) => {
      // Two runs of one job meet here; the second waits and then finds the model.
      await client.query('select pg_advisory_xact_lock(hashtext($1), hashtext($2))', [owner, model.id]);
      const { rows } = await client.query<{ digest: string }>(
        'select digest from models where owner = $1 and id = $2',
        [owner, model.id],
      );
      if (rows[0]?.digest === model.digest) return;
      if (rows[0]) {
        throw new AdderError({
          code: 'MODEL_EXISTS',
          message: `there is a model ${quote(model.id)} already`,
          fix: 'delete it first, or choose another id',
        });
      }
      const objectId = await this.objects.put(owner, { kind: 'weights' }, weights, client);
      await client.query(
        'insert into models (owner, id, base, digest, object_id, card) values ($1, $2, $3, $4, $5, $6)',
        [owner, model.id, model.base, model.digest, objectId, JSON.stringify(model.card)],
      );
    });
  }

  /** Throws `UNKNOWN_MODEL`. */
  async get(owner: string, id: string): Promise<StoredModel> {
    const found = await this.database.prisma.model.findUnique({ where: { owner_id: { owner, id } } });
    if (!found) throw unknownModel(id);
    return found;
  }

  async weights(owner: string, id: string): Promise<Buffer> {
    return this.objects.get(owner, (await this.get(owner, id)).objectId);
  }

  list(owner: string): Promise<StoredModel[]> {
    return this.database.prisma.model.findMany({ where: { owner }, orderBy: { createdAt: 'desc' } });
  }

  /** Removes a model with its weights and the states that it made. Throws `UNKNOWN_MODEL`. */
  async remove(owner: string, id: string): Promise<void> {
    await this.database.transaction(async (client) => {
      const { rows } = await client.query<{ object_id: string }>(
        'delete from models where owner = $1 and id = $2 returning object_id',
        [owner, id],
      );
      if (!rows[0]) throw unknownModel(id);
      await client.query('delete from objects where id = $1 and owner = $2', [rows[0].object_id, owner]);
      await client.query('delete from states where owner = $1 and model_id = $2', [owner, id]);
    });
  }
}

const unknownModel = (id: string) =>
  new AdderError({
    code: 'UNKNOWN_MODEL',
    message: `there is no model ${quote(id)}`,
    fix: 'list the models for their ids',
  });
