import type { Queryable } from './database.js';

/**
 * Points have no foreign key to their series, so writers and deletes meet at a lock instead: a writer shares it while it
 * checks that its series exist and writes their points, a delete takes it alone while it removes the row. After that no
 * writer finds the series, and its points can be removed at leisure.
 *
 * Locks are advisory, one for each of 64 groups of series, and taken in ascending order, so no two can wait for each other.
 */
const NAMESPACE = 20_571;
const GROUPS = 64;

const groupsOf = (seriesIds: Iterable<bigint>): number[] => {
  const groups = new Set<number>();
  for (const id of seriesIds) {
    groups.add(Number(BigInt.asUintN(32, id) % BigInt(GROUPS)));
    if (groups.size === GROUPS) break;
  }
  return [...groups].sort((a, b) => a - b);
};

/** Lets this transaction write points of the series until it ends. */
export async function shareSeries(client: Queryable, seriesIds: Iterable<bigint>): Promise<void> {
  await client.query('select pg_advisory_xact_lock_shared($1, g) from unnest($2::int[]) g', [
    NAMESPACE,
    groupsOf(seriesIds),
  ]);
}

/** Waits for every writer of the series and keeps new ones out until this transaction ends. */
export async function claimSeries(client: Queryable, seriesIds: Iterable<bigint>): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1, g) from unnest($2::int[]) g', [NAMESPACE, groupsOf(seriesIds)]);
}
