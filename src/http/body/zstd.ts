import { Decompress } from 'fzstd';

/** What a decoder of zstd (RFC 8878, 3.1.1.1.2) has to support at least, and what the command line refuses to pass without --long. */
const MAX_WINDOW = 2 ** 27;

/** Thrown when the output passes its limit, whatever the frame header promised. */
export class OutputLimit extends Error {}

/**
 * Decompresses one or more zstd frames, and stops as soon as the output passes `limit` bytes. Pure JavaScript: call it on
 * a thread of its own.
 */
export function unzstd(input: Uint8Array, limit: number): Uint8Array<ArrayBuffer> {
  refuseWindow(input, limit);
  const parts: Uint8Array[] = [];
  let size = 0;
  const stream = new Decompress((part) => {
    size += part.length;
    if (size > limit) throw new OutputLimit();
    if (part.length > 0) parts.push(part);
  });
  // In pieces: output is handed over, and counted, after each of them.
  const STEP = 1 << 16;
  for (let at = 0; at < input.length; at += STEP) {
    stream.push(input.subarray(at, at + STEP), at + STEP >= input.length);
  }
  if (input.length === 0) throw new Error('empty');
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The decoder allocates the window that the first header asks for; four bytes could claim two gigabytes. */
function refuseWindow(input: Uint8Array, limit: number): void {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (input.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return;
  const flags = input[4]!;
  const single = (flags >> 5) & 1;
  if (!single) {
    const descriptor = input[5]!;
    const base = 2 ** (10 + (descriptor >> 3));
    if (base + (base / 8) * (descriptor & 7) > MAX_WINDOW) throw new OutputLimit();
    return;
  }
  const dictionary = [0, 1, 2, 4][flags & 3]!;
  const width = [1, 2, 4, 8][flags >> 6]!;
  let size = 0;
  for (let i = width - 1; i >= 0; i--) size = size * 256 + (input[5 + dictionary + i] ?? 0);
  if (size > Math.max(limit, 1)) throw new OutputLimit();
}
