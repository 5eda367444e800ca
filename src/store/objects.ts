import { AdderError } from '../platform/errors.js';
import { orderedId } from '../platform/ids.js';
import type { Database, Queryable } from './database.js';

/** Bytes of one row. */
const CHUNK = 4 * 2 ** 20;

export interface ObjectFields {
  /** What the bytes are, e.g. `forecast-request`, `weights`. */
  kind: string;
  meta?: Record<string, unknown>;
  /** How long the object is kept, milliseconds from now; absent: until it is removed. */
  keepMs?: number;
}

export interface ObjectInfo {
  id: string;
  kind: string;
  size: number;
  meta: Record<string, unknown>;
  expiresAt: Date | null;
}

/** Large arrays and files, in rows of 4 MiB. A job carries the id of an object, never its bytes. */
export class ObjectStore {
  constructor(private readonly database: Database) {}

  /** Keeps bytes and returns their id; in a transaction of the caller if one is given. */
  async put(owner: string, fields: ObjectFields, bytes: Uint8Array, client?: Queryable): Promise<string> {
    if (client) return this.putIn(client, owner, fields, bytes);
    if (bytes.byteLength <= CHUNK) return this.putIn(this.database.pool, owner, fields, bytes);
    return this.database.transaction((transaction) => this.putIn(transaction, owner, fields, bytes));
  }

  private async putIn(client: Queryable, owner: string, fields: ObjectFields, bytes: Uint8Array): Promise<string> {
    const id = orderedId();
    const first = bytes.subarray(0, CHUNK);
    // One statement for object and first row: a small object is one round trip and cannot be half there.
    await client.query({
      name: 'adder_put_object',
      text: `with o as (insert into objects (id, owner, kind, size, meta, expires_at)
               values ($1, $2, $3, $4, $5, now() + $6 * interval '1 millisecond') returning id)
             insert into object_chunks (object_id, index, bytes) select id, 0, $7 from o`,
      values: [
        id,
        owner,
        fields.kind,
        bytes.byteLength,
        JSON.stringify(fields.meta ?? {}),
        fields.keepMs ?? null,
        Buffer.from(first.buffer, first.byteOffset, first.byteLength),
      ],
    });
    for (let index = 1; index * CHUNK < bytes.byteLength; index++) {
      const part = bytes.subarray(index * CHUNK, (index + 1) * CHUNK);
      await client.query('insert into object_chunks (object_id, index, bytes) values ($1, $2, $3)', [
        id,
        index,
        Buffer.from(part.buffer, part.byteOffset, part.byteLength),
      ]);
    }
    return id;
  }

  /** Throws `UNKNOWN_OBJECT` when it does not exist, has expired, or is another owner's. */
  async info(owner: string, id: string): Promise<ObjectInfo> {
    const { rows } = await this.database.pool.query<Omit<ObjectInfo, 'size'> & { size: bigint }>(
      `select id, kind, size, meta, expires_at as "expiresAt" from objects
       where id = $1 and owner = $2 and (expires_at is null or expires_at > now())`,
      [id, owner],
    );
    if (!rows[0]) throw unknownObject(id);
    return { ...rows[0], size: Number(rows[0].size) };
  }

  /** The bytes in parts of at most 4 MiB, so that a large object never lies in memory whole. */
  async *stream(owner: string, id: string): AsyncGenerator<Buffer> {
    const { size } = await this.info(owner, id);
    for (let index = 0; index * CHUNK < size || index === 0; index++) yield await this.chunk(owner, id, index);
  }

  /** All bytes. Throws as `info` does. */
  async get(owner: string, id: string): Promise<Buffer> {
    const { rows } = await this.database.pool.query<{ size: bigint; bytes: Buffer }>({
      name: 'adder_get_object',
      text: `select o.size, c.bytes from objects o join object_chunks c on c.object_id = o.id and c.index = 0
             where o.id = $1 and o.owner = $2 and (o.expires_at is null or o.expires_at > now())`,
      values: [id, owner],
    });
    if (!rows[0]) throw unknownObject(id);
    const parts = [rows[0].bytes];
    for (let index = 1; index * CHUNK < Number(rows[0].size); index++) parts.push(await this.chunk(owner, id, index));
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  private async chunk(owner: string, id: string, index: number): Promise<Buffer> {
    const { rows } = await this.database.pool.query<{ bytes: Buffer }>(
      `select c.bytes from object_chunks c join objects o on o.id = c.object_id
       where o.id = $1 and o.owner = $2 and c.index = $3`,
      [id, owner, index],
    );
    if (!rows[0]) throw unknownObject(id);
    return rows[0].bytes;
  }

  /** Removes an object; false when there was none of this owner. */
  async remove(owner: string, id: string): Promise<boolean> {
    const { rowCount } = await this.database.pool.query('delete from objects where id = $1 and owner = $2', [
      id,
      owner,
    ]);
    return rowCount === 1;
  }

  /** Removes expired objects, at most a thousand; returns how many. */
  async sweep(): Promise<number> {
    const { rowCount } = await this.database.pool.query(
      `delete from objects where id in (select id from objects where expires_at < now()
         order by expires_at limit 1000 for update skip locked)`,
    );
    return rowCount ?? 0;
  }
}

const unknownObject = (id: string) =>
  new AdderError({
    code: 'UNKNOWN_OBJECT',
    message: `there is no object ${id}`,
    fix: 'objects of requests are kept for a limited time; send the request again',
  });
