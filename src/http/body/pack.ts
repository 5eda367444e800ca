/** Arrays at least this long are packed; shorter ones cost nothing to copy. */
const MIN_LENGTH = 256;

/** Nesting that no request of ours needs. */
const MAX_DEPTH = 32;
/** Arrays and objects in one body: each costs far more memory than its two characters. */
const MAX_CONTAINERS = 500_000;
const MAX_STRINGS = 8_000_000;
/** Names of fields. An object of very many is slow in all that follows: moving it between threads, checking it. */
const MAX_NAMES = 500_000;
const MAX_NAMES_OF_ONE = 2000;

/** Why text must not be parsed, or undefined. One pass over the bytes, before any object exists. */
export function refuseShape(bytes: Uint8Array): string | undefined {
  let depth = 0;
  let containers = 0;
  let strings = 0;
  let names = 0;
  /** Names so far of each object that is open. */
  const own = new Array<number>(MAX_DEPTH + 1).fill(0);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 0x22) {
      strings++;
      for (i++; i < bytes.length && bytes[i] !== 0x22; i++) if (bytes[i] === 0x5c) i++;
    } else if (byte === 0x3a) {
      names++;
      if (++own[depth]! > MAX_NAMES_OF_ONE) return `an object of the JSON has more than ${MAX_NAMES_OF_ONE} fields`;
    } else if (byte === 0x5b || byte === 0x7b) {
      containers++;
      if (++depth > MAX_DEPTH) return `the JSON is nested deeper than ${MAX_DEPTH} levels`;
      own[depth] = 0;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  if (containers > MAX_CONTAINERS) return `the JSON holds more than ${MAX_CONTAINERS} arrays and objects`;
  if (strings > MAX_STRINGS) return `the JSON holds more than ${MAX_STRINGS} strings`;
  if (names > MAX_NAMES) return `the JSON holds more than ${MAX_NAMES} fields`;
  return undefined;
}

/**
 * Replaces long arrays of numbers and nulls by Float64Arrays (NaN is null), which move between threads without a copy.
 * Returns the value and the buffers to move.
 */
export function pack(value: unknown): { value: unknown; buffers: ArrayBuffer[] } {
  const buffers: ArrayBuffer[] = [];
  const walk = (current: unknown): unknown => {
    if (Array.isArray(current)) {
      const column = current.length >= MIN_LENGTH ? columnOf(current) : undefined;
      if (column) {
        buffers.push(column.buffer);
        return column;
      }
      for (let i = 0; i < current.length; i++) {
        if (typeof current[i] === 'object' && current[i] !== null) current[i] = walk(current[i]);
      }
    } else if (typeof current === 'object' && current !== null) {
      const fields = current as Record<string, unknown>;
      for (const key of Object.keys(fields)) {
        if (typeof fields[key] === 'object' && fields[key] !== null) fields[key] = walk(fields[key]);
      }
    }
    return current;
  };
  return { value: walk(value), buffers };
}

function columnOf(values: unknown[]): Float64Array<ArrayBuffer> | undefined {
  // 1e999 parses as Infinity, which the schema refuses by its index; NaN cannot come from JSON.
  for (const value of values) if (value !== null && typeof value !== 'number') return undefined;
  const out = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = values[i] === null ? Number.NaN : (values[i] as number);
  return out;
}
