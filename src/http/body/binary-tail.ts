/** Bytes that came behind the JSON of a request; a key that no JSON can have. */
const TAIL = Symbol('bytes behind the JSON');

export function attachTail(json: unknown, tail: Uint8Array): unknown {
  if (typeof json === 'object' && json !== null) Object.defineProperty(json, TAIL, { value: tail });
  return json;
}

/** The bytes behind the JSON of this request, where its route takes such bytes and its headers announced them. */
export function binaryTail(request: unknown): Uint8Array | undefined {
  return typeof request === 'object' && request !== null ? (request as { [TAIL]?: Uint8Array })[TAIL] : undefined;
}
