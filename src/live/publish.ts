/** How outputs reach the processes with doors: the bytes on a channel of Redis, or a notification of PostgreSQL with numbers. */
import type { Redis } from 'ioredis';
import type { Queryable } from '../store/database.js';
import type { LiveOutput } from './feed.js';
import { decodeOutput } from './output-codec.js';
import type { EncodedOutput } from './output-store.js';

export const OUTPUT_CHANNEL = 'adder:live:outputs';
export const OUTPUT_NOTIFY = 'adder_live_outputs';

/** PostgreSQL takes less than 8000 bytes in a notification. */
const NOTIFY_BYTES = 7800;

/** So many outputs may fit into a notification, which then begins so. */
const FEW = 8;
const WHOLE = '=';

export interface Publisher {
  /** Inside the transaction of the outputs. */
  within(client: Queryable, outputs: readonly EncodedOutput[]): Promise<void>;
  /** After it. */
  after(outputs: readonly EncodedOutput[]): void;
}

/** Without Redis: listeners hear the outputs themselves if they are few, otherwise which series they must look up. */
export const NOTIFYING_OUTPUTS: Publisher = {
  async within(client, outputs) {
    await client.query('select pg_notify($1, p) from unnest($2::text[]) p', [OUTPUT_NOTIFY, notifications(outputs)]);
  },
  after: () => {},
};

function notifications(outputs: readonly EncodedOutput[]): string[] {
  if (outputs.length <= FEW) {
    const payload = `${WHOLE}${packOutputs(outputs).toString('base64')}`;
    if (payload.length <= NOTIFY_BYTES) return [payload];
  }
  const payloads: string[] = [];
  let payload = '';
  for (const { output } of outputs) {
    const id = output.seriesId.toString(36);
    if (payload.length + id.length + 1 > NOTIFY_BYTES) {
      payloads.push(payload);
      payload = '';
    }
    payload += payload ? ` ${id}` : id;
  }
  return payload ? [...payloads, payload] : payloads;
}

/** What a notification says: the outputs, or the numbers of the series to look up. */
export function readNotification(payload: string): { message: Buffer } | { ids: bigint[] } {
  if (payload.startsWith(WHOLE)) return { message: Buffer.from(payload.slice(WHOLE.length), 'base64') };
  return { ids: payload.split(' ').map((id) => BigInt(Number.parseInt(id, 36))) };
}

export class RedisPublisher implements Publisher {
  constructor(
    private readonly redis: Redis,
    private readonly onError: (error: Error) => void,
  ) {}

  async within(): Promise<void> {}

  after(outputs: readonly EncodedOutput[]): void {
    if (outputs.length > 0) this.redis.publish(OUTPUT_CHANNEL, packOutputs(outputs)).catch(this.onError);
  }
}

// For each output: number, sequence, time f64 · lengths of owner, name, bytes u32 · those.
const HEAD = 36;

export function packOutputs(outputs: readonly EncodedOutput[]): Buffer {
  return Buffer.concat(
    outputs.flatMap(({ output, bytes }) => {
      const owner = Buffer.from(output.owner);
      const name = Buffer.from(output.series);
      const head = Buffer.allocUnsafe(HEAD);
      head.writeDoubleLE(Number(output.seriesId), 0);
      head.writeDoubleLE(output.sequence, 8);
      head.writeDoubleLE(output.at, 16);
      head.writeUInt32LE(owner.length, 24);
      head.writeUInt32LE(name.length, 28);
      head.writeUInt32LE(bytes.length, 32);
      return [head, owner, name, bytes];
    }),
  );
}

/** The outputs of a message that somebody wants; the others are passed over unread. */
export function* unpackOutputs(
  message: Buffer,
  wanted: (owner: string, series: string) => boolean,
): Generator<LiveOutput> {
  for (let at = 0; at < message.length; ) {
    const ownerEnd = at + HEAD + message.readUInt32LE(at + 24);
    const nameEnd = ownerEnd + message.readUInt32LE(at + 28);
    const end = nameEnd + message.readUInt32LE(at + 32);
    const owner = message.toString('utf8', at + HEAD, ownerEnd);
    const series = message.toString('utf8', ownerEnd, nameEnd);
    if (wanted(owner, series)) {
      const known = {
        owner,
        series,
        seriesId: BigInt(message.readDoubleLE(at)),
        sequence: message.readDoubleLE(at + 8),
        at: message.readDoubleLE(at + 16),
      };
      yield decodeOutput(known, message.subarray(nameEnd, end));
    }
    at = end;
  }
}
