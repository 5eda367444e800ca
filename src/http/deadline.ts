import type { FastifyReply } from 'fastify';
import { RequestError } from '../platform/request-error.js';

/**
 * Runs work for a waiting client: 503 with Retry-After when it takes longer than `timeoutMs`, dropped when the client hangs
 * up. The signal reaches everything that the work waits for.
 */
export async function withDeadline<T>(
  timeoutMs: number,
  reply: FastifyReply,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const late = new RequestError({
    status: 503,
    code: 'TIMEOUT',
    message: `this took longer than ${timeoutMs / 1000} s`,
    fix: 'send fewer series at once, or use a job (POST /v1/jobs)',
    retryAfter: 10,
  });
  const hangUp = () => {
    if (!reply.raw.writableFinished) controller.abort(late);
  };
  reply.raw.once('close', hangUp);
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, fail) => {
    timer = setTimeout(() => {
      controller.abort(late);
      fail(late);
    }, timeoutMs);
  });
  try {
    return await Promise.race([work(controller.signal), timeout]);
  } finally {
    clearTimeout(timer);
    reply.raw.off('close', hangUp);
  }
}
