import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { RequestError } from '../platform/request-error.js';
import { PROBLEM_DIALECT } from './dialect.js';

/** What Node's HTTP parser refuses, by its code. */
function problemOfParser(code: string | undefined): RequestError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new RequestError({
      status: 431,
      code: 'HEADERS_TOO_LARGE',
      message: 'address and headers are larger than 16 KiB together',
      fix: 'send what is long in the body',
    });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new RequestError({
      status: 408,
      code: 'REQUEST_TIMEOUT',
      message: 'the request did not arrive in time',
      fix: 'send it again, in smaller parts where the line is slow',
    });
  }
  return new RequestError({
    status: 400,
    code: 'BAD_HTTP',
    message: 'this is not a valid HTTP/1.1 request',
    fix: 'check the request line, the lengths and the chunks',
  });
}

/** Answers a connection whose request never became one, in the form of every other error, and closes it. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy(error);
    return;
  }
  const problem = problemOfParser(error.code);
  const id = randomUUID();
  const body = JSON.stringify(PROBLEM_DIALECT.body(problem, id));
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      `content-type: ${PROBLEM_DIALECT.contentType}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${id}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
