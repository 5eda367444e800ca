/** Thread that decompresses zstd and parses large JSON, so that the event loop of the API does not wait for it. */
import { isUtf8 } from 'node:buffer';
import { parentPort } from 'node:worker_threads';
import { pack, refuseShape } from './pack.js';
import { OutputLimit, unzstd } from './zstd.js';

export interface BodyTask {
  id: number;
  bytes: Uint8Array;
  zstd: boolean;
  json: boolean;
  limit: number;
}

export type BodyAnswer =
  | { id: number; ok: true; value: unknown; size: number }
  | { id: number; ok: false; reason: 'too-large' | 'bad-compression' | 'bad-json'; message: string };

function work({ id, bytes, zstd, json, limit }: BodyTask): { answer: BodyAnswer; buffers: ArrayBuffer[] } {
  const fail = (reason: 'too-large' | 'bad-compression' | 'bad-json', message: string) => ({
    answer: { id, ok: false as const, reason, message },
    buffers: [],
  });
  let plain = bytes;
  if (zstd) {
    try {
      plain = unzstd(bytes, limit);
    } catch (error) {
      if (error instanceof OutputLimit) return fail('too-large', '');
      return fail('bad-compression', (error as Error).message);
    }
  }
  const size = plain.byteLength;
  if (!json) return { answer: { id, ok: true, value: plain, size }, buffers: [plain.buffer as ArrayBuffer] };
  if (!isUtf8(plain)) return fail('bad-json', 'the body is not valid UTF-8');
  const refusal = refuseShape(plain);
  if (refusal) return fail('bad-json', refusal);
  try {
    const parsed: unknown = JSON.parse(Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('utf8'));
    const { value, buffers } = pack(parsed);
    return { answer: { id, ok: true, value, size }, buffers };
  } catch (error) {
    return fail('bad-json', (error as Error).message);
  }
}

parentPort?.on('message', (task: BodyTask) => {
  const { answer, buffers } = work(task);
  parentPort?.postMessage(answer, buffers);
});
