import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import { RequestError } from '../../platform/request-error.js';
import { attachTail } from './binary-tail.js';
import type { BodyThreads } from './body-threads.js';
import { badCompression, badJson, type Encoding, encodingOf, tooLarge } from './limits.js';
import { refuseShape } from './pack.js';

/** JSON beyond this goes to a thread; parsing so much takes about two milliseconds. */
const INLINE_BYTES = 256 * 1024;

const NATIVE = { gzip: promisify(gunzip), deflate: promisify(inflate), br: promisify(brotliDecompress) };

export interface BodyHeaders {
  'content-encoding'?: string | string[] | undefined;
  'content-type'?: string | undefined;
  'content-length'?: string | undefined;
  'inference-header-content-length'?: string | string[] | undefined;
}

/**
 * The body of a request: JSON parsed (long arrays of numbers as Float64Arrays), anything else as its bytes. Compressed
 * bodies are unpacked under `limit`, which holds for what they unpack to. Where a route `takesTail`, the header
 * Inference-Header-Content-Length says how many bytes are JSON; the rest is attached (binary-tail.ts).
 */
export async function readBody(
  headers: BodyHeaders,
  payload: Readable,
  limit: number,
  threads: BodyThreads,
  takesTail = false,
): Promise<unknown> {
  const encoding = encodingOf(headers['content-encoding']);
  const header = takesTail ? headers['inference-header-content-length'] : undefined;
  const json = header === undefined && isJson(headers['content-type']);
  if (Number(headers['content-length'] ?? 0) > limit) {
    await drain(payload, limit);
    throw tooLarge(limit);
  }
  const raw = await collect(payload, limit);
  if (raw.length === 0 && encoding === 'identity') return json ? undefined : raw;
  if (encoding === 'zstd' && header === undefined) return threads.decode(detached(raw), { zstd: true, json, limit });
  const plain =
    encoding === 'zstd'
      ? Buffer.from((await threads.decode(detached(raw), { zstd: true, json, limit })) as Uint8Array<ArrayBuffer>)
      : await unpack(raw, encoding, limit);
  if (header !== undefined) {
    const length = headLength(header, plain.length);
    return attachTail(await parse(plain.subarray(0, length), limit, threads), plain.subarray(length));
  }
  return json ? parse(plain, limit, threads) : plain;
}

async function parse(plain: Buffer, limit: number, threads: BodyThreads): Promise<unknown> {
  if (plain.length > INLINE_BYTES) return threads.decode(detached(plain), { zstd: false, json: true, limit });
  if (!isUtf8(plain)) throw badJson('the body is not valid UTF-8');
  const refusal = refuseShape(plain);
  if (refusal) throw badJson(refusal);
  try {
    return JSON.parse(plain.toString('utf8'));
  } catch (error) {
    throw badJson((error as Error).message);
  }
}

/** How many bytes of a body are JSON, as the client says. */
function headLength(header: string | string[], size: number): number {
  const length = Number(header);
  if (/^\d{1,12}$/.test(String(header)) && length > 0 && length <= size) return length;
  throw new RequestError({
    status: 400,
    code: 'BAD_HEADER',
    message: `Inference-Header-Content-Length is ${JSON.stringify(String(header).slice(0, 40))}, and the body has ${size} bytes`,
    where: { field: 'inference-header-content-length' },
    fix: 'send the number of bytes that the JSON takes before the tensors begin',
  });
}

/** JSON is the default: clients that forget the header mean it. */
function isJson(type: string | undefined): boolean {
  const name = (type ?? '').split(';', 1)[0]!.trim().toLowerCase();
  return (
    name === '' || name === 'application/json' || name.endsWith('+json') || name === 'application/x-www-form-urlencoded'
  );
}

/** A client that is still writing when the answer comes sees a broken pipe instead of it, so some more is read and dropped. */
const DRAIN = 4;

async function drain(payload: Readable, limit: number): Promise<void> {
  let size = 0;
  for await (const chunk of payload as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > DRAIN * limit) return;
  }
}

async function collect(payload: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of payload as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) chunks.length = 0;
    if (size > DRAIN * limit) break;
    if (size <= limit) chunks.push(chunk);
  }
  if (size > limit) throw tooLarge(limit);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

async function unpack(raw: Buffer, encoding: Exclude<Encoding, 'zstd'>, limit: number): Promise<Buffer> {
  if (encoding === 'identity') return raw;
  try {
    return await NATIVE[encoding](raw, { maxOutputLength: limit });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit, error);
    throw badCompression(encoding, error);
  }
}

/** Bytes that own their memory, so that a thread copies no more than them. */
const detached = (bytes: Buffer): Uint8Array =>
  bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength ? bytes : Uint8Array.from(bytes);
