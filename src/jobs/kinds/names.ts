import type { Queryable } from '../../store/database.js';
import type { ObjectStore } from '../../store/objects.js';

/** Keeps names of series as an object, because lists do not travel in job data; returns its id. */
export function keepNames(
  objects: ObjectStore,
  owner: string,
  names: readonly string[],
  keepMs: number,
  client?: Queryable,
): Promise<string> {
  return objects.put(owner, { kind: 'series-names', keepMs }, Buffer.from(JSON.stringify(names)), client);
}
