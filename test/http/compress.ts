import { gzipSync } from 'node:zlib';

export { gzipSync };

const MAX_BLOCK = 128 * 1024;

/**
 * A zstd frame (RFC 8878) by hand, because Node 20 cannot write one: raw blocks, and for a run of one byte a block of the
 * type that repeats it, which is what a bomb is made of.
 */
export function zstdCompressSync(bytes: Uint8Array): Buffer {
  // Magic number; a window of 8 MiB, no content size, no checksum.
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3])];
  for (let at = 0; at < bytes.length || at === 0; at += MAX_BLOCK) {
    const block = bytes.subarray(at, at + MAX_BLOCK);
    const last = at + MAX_BLOCK >= bytes.length ? 1 : 0;
    const same = block.length > 1 && block.every((byte) => byte === block[0]);
    const header = (block.length << 3) | ((same ? 1 : 0) << 1) | last;
    parts.push(Buffer.from([header & 255, (header >> 8) & 255, header >> 16]));
    parts.push(Buffer.from(same ? block.subarray(0, 1) : block));
  }
  return Buffer.concat(parts);
}
