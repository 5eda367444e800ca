import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { RequestError } from '../platform/request-error.js';
import { problemOf } from './problem.js';

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Hands requests for another protocol (WebSocket) to the door of their path; other paths are answered 404. */
export function routeUpgrades(server: Server, doors: ReadonlyMap<string, UpgradeHandler>): void {
  server.on('upgrade', (request, socket, head) => {
    const path = (request.url ?? '').split('?', 1)[0]!;
    const door = doors.get(path);
    if (door) door(request, socket, head);
    else {
      refuseUpgrade(
        socket,
        new RequestError({
          status: 404,
          code: 'NOT_FOUND',
          message: `there is no WebSocket at ${path}`,
          fix: `use ${[...doors.keys()].join(' or ')}`,
        }),
      );
    }
  });
}

/** Answers a request for an upgrade with an error, as any other request, and hangs up. */
export function refuseUpgrade(socket: Duplex, error: RequestError): void {
  const body = JSON.stringify(problemOf(error, ''));
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    ...(error.retryAfter === undefined ? [] : [`Retry-After: ${Math.ceil(error.retryAfter)}`]),
  ];
  socket.on('error', () => {});
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
