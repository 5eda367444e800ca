import { uncompress } from 'snappy';
import { badCompression, tooLarge } from '../../../http/body/limits.js';

/** The content of a snappy block, which says its length before there is memory for it. Throws 400 and 413. */
export async function unsnappy(block: Uint8Array, limit: number): Promise<Uint8Array> {
  const length = lengthOf(block);
  if (length === undefined) throw badCompression('snappy', new Error('the block has no length'));
  if (length > limit) throw tooLarge(limit);
  try {
    // The library refuses a block that does not fill exactly the length that it has said.
    const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
    return (await uncompress(bytes, { asBuffer: true })) as Buffer;
  } catch (error) {
    throw badCompression('snappy', error);
  }
}

/** https://github.com/google/snappy/blob/main/format_description.txt section 1: a varint of at most 32 bits. */
function lengthOf(block: Uint8Array): number | undefined {
  let length = 0;
  for (let i = 0; i < Math.min(5, block.length); i++) {
    length += (block[i]! & 0x7f) * 2 ** (7 * i);
    if (block[i]! < 0x80) return length;
  }
  return undefined;
}
