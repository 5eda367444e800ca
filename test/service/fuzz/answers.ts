/** What every answer to a bad request has to be. */
import { expect } from '@jest/globals';

/** Routes that say 501 for what Adder does not do; clients do not retry it. */
const MAY_BE_ABSENT = /^\/v2\/(finetune|forecast\/async|cross_validation\/async|finetune\/async)/;

/** How long a request may go unanswered before it counts as hanging. */
const HANGS_MS = 60_000;

export interface Sent {
  method: string;
  path: string;
  body?: Uint8Array | string | undefined;
  headers?: Record<string, string>;
}

/**
 * Sends a request and checks its answer: no 5xx; an error in the dialect of its protocol that says what is wrong and betrays
 * nothing of the inside. Returns the status.
 */
export async function sendHostile(address: string, { method, path, body, headers = {} }: Sent): Promise<number> {
  const hangUp = new AbortController();
  const timer = setTimeout(() => hangUp.abort(new Error(`no answer for ${HANGS_MS} ms`)), HANGS_MS);
  try {
    const response = await fetch(address + path, {
      method,
      headers,
      signal: hangUp.signal,
      ...(body === undefined ? {} : { body: body as string }),
    });
    // A stream of events goes on; that it began is enough.
    if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
      await response.body?.cancel();
      return response.status;
    }
    const text = await response.text();
    const what = `${method} ${path.slice(0, 300)} ${String(body ?? '').slice(0, 1500)} → ${response.status} ${text.slice(0, 600)}`;
    checkAnswer(response, path, text, what);
    return response.status;
  } finally {
    clearTimeout(timer);
  }
}

function checkAnswer(response: Response, path: string, text: string, what: string): void {
  const { status } = response;
  const allowed = status < 500 || (status === 501 && MAY_BE_ABSENT.test(path));
  expect(allowed ? '' : what).toBe('');
  if (status < 400) return;
  // No stack, no file, no SQL.
  expect(/\n\s+at |node_modules|\/src\/|\.ts:\d|select |insert into/i.test(text) ? what : '').toBe('');
  expect(response.headers.get('x-request-id')).toMatch(/\S/);
  const problem = JSON.parse(text) as Record<string, unknown>;
  const said = [problem.detail, problem.error, problem.message].filter((part) => part !== undefined);
  expect(said.length > 0 && JSON.stringify(said).length > 8 ? '' : what).toBe('');
  if (path.startsWith('/v1/')) {
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(problem).toMatchObject({ status, code: expect.stringMatching(/^[A-Z_]+$/), requestId: expect.any(String) });
  }
}
