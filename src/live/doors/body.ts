import type { FastifyRequest } from 'fastify';

/** The body of a route that takes bytes; none is no bytes. */
export function bytesOf(request: FastifyRequest): Uint8Array {
  const { body } = request;
  return body instanceof Uint8Array ? body : new Uint8Array();
}
