import type { Prisma } from '../generated/prisma/client.js';
import { AdderError, quote } from '../platform/errors.js';
import type { Database, Queryable } from './database.js';
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

/** What is kept of a model beside its weights. */
export interface NewModel {
  id: string;
  base: string;
  digest: string;
  card: Prisma.InputJsonObject;
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
  async put(owner: string, model: NewModel, weights: Uint8Array): Promise<void> {
    await this.database.transaction((client) => this.putIn(client, owner, model, weights));
  }

  /** `put` as a part of a transaction of the caller. */
  async putIn(client: Queryable, owner: string, model: NewModel, weights: Uint8Array): Promise<void> {
    if (!/^[a-zA-Z0-9_-]{1,36}$/.test(model.id)) {
      throw new AdderError({
        code: 'BAD_MODEL_ID',
        message: `${quote(model.id)} cannot name a model`,
        fix: 'use 1 to 36 letters, digits, - and _',
      });
    }
    // Two runs of one job meet here; the second waits and then finds the model.
    await client.query('select pg_advisory_xact_lock(hashtext($1), hashtext($2))', [owner, model.id]);
    const { rows } = await client.query<{ digest: string }>('select digest from models where owner = $1 and id = $2', [
      owner,
      model.id,
    ]);
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
  }

  /** Throws `UNKNOWN_MODEL`. */
  async get(owner: string, id: string): Promise<StoredModel> {
    const found = await this.database.prisma.model.findUnique({ where: { owner_id: { owner, id } } });
    if (!found) throw unknownModel(id);
    return found;
  }

  /** The model, or undefined. */
  async find(owner: string, id: string): Promise<StoredModel | undefined> {
    return (await this.database.prisma.model.findUnique({ where: { owner_id: { owner, id } } })) ?? undefined;
  }

  async weights(owner: string, id: string): Promise<Buffer> {
    return this.objects.get(owner, (await this.get(owner, id)).objectId);
  }

  /** Models of an owner, latest first, without those that were made in passing. */
  async list(owner: string): Promise<StoredModel[]> {
    const all = await this.database.prisma.model.findMany({ where: { owner }, orderBy: { createdAt: 'desc' } });
    return all.filter(({ card }) => !(card as { automatic?: unknown } | null)?.automatic);
  }

  /** Removes models that were made in passing and are older than `ageMs`; returns how many. */
  async sweep(ageMs: number): Promise<number> {
    const { rows } = await this.database.pool.query<{ owner: string; id: string }>(
      `select owner, id from models where card ->> 'automatic' is not null
         and created_at < now() - $1 * interval '1 millisecond' limit 1000`,
      [ageMs],
    );
    for (const { owner, id } of rows) {
      // Another worker may have been quicker.
      await this.remove(owner, id).catch((error: { code?: string }) => {
        if (error.code !== 'UNKNOWN_MODEL') throw error;
      });
    }
    return rows.length;
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
      // Live streams keep theirs under names that begin with the model's.
      await client.query("delete from states where owner = $1 and split_part(model_id, '/', 1) = $2", [owner, id]);
    });
  }
}

const unknownModel = (id: string) =>
  new AdderError({
    code: 'UNKNOWN_MODEL',
    message: `there is no model ${quote(id)}`,
    fix: 'list the models for their ids',
  });
