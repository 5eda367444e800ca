/**
 * Snapshots of live series in the store's table of states. A series has two of them in turn, `MODEL/a` and `MODEL/b`, so
 * that a point which is too late for the newer one finds the older one still valid.
 *
 * Bytes, little endian: length of the plan u32 · the plan as JSON · the state as `stateToBytes` writes it.
 */

import type { ForecasterModel } from '../forecast/model/model.js';
import { stateFromBytes, stateToBytes } from '../forecast/model/series-state.js';
import type { StoredState } from '../store/states.js';
import type { LiveSeries } from './live-series.js';
import type { Outcome } from './outcome.js';
import { type CorePlan, SeriesCore } from './series-core.js';

/** Raised when the meaning of the bytes changes; states of another version are built again from the points. */
export const SNAPSHOT_VERSION = 1;

export const SLOTS = ['a', 'b'] as const;
export type Slot = (typeof SLOTS)[number];

/** Under which the states of a model are kept in the store. */
export const stateName = (model: ForecasterModel, slot: Slot) => `${model.id}/${slot}`;

/** The core as it is where its open patch begins. */
export function takeSnapshot(
  model: ForecasterModel,
  core: SeriesCore,
  seriesId: bigint,
  slot: Slot,
  revision: number,
): StoredState {
  const plan = Buffer.from(JSON.stringify(core.saved));
  const state = stateToBytes({ ...core.state, features: core.base });
  const head = Buffer.alloc(4);
  head.writeUInt32LE(plan.length);
  return {
    seriesId,
    modelId: stateName(model, slot),
    weightsDigest: model.digest,
    version: SNAPSHOT_VERSION,
    position: BigInt(core.kept),
    lastAt: core.coveredThrough,
    sequence: 0n,
    bytes: Buffer.concat([head, plan, state]),
    dirty: false,
    revision,
  };
}

/** The core of a snapshot, without the points that came after it. Throws when the bytes are not whole or of other weights. */
export function coreOf(model: ForecasterModel, bytes: Buffer): SeriesCore {
  const length = bytes.readUInt32LE(0);
  const plan = JSON.parse(bytes.toString('utf8', 4, 4 + length)) as CorePlan;
  const state = stateFromBytes(model, bytes.subarray(4 + length));
  return new SeriesCore(plan, state.features.clone(), state);
}

/**
 * Adds snapshots of series to an outcome: of those without one, and of those that have closed so many patches since, the
 * longest first. Returns whose they are.
 */
export function addSnapshots(
  model: ForecasterModel,
  series: readonly LiveSeries[],
  { snapshots }: Pick<Outcome, 'snapshots'>,
  { patches, most }: { patches: number; most: number },
): Map<StoredState, LiveSeries> {
  const age = ({ core, snapshotAt }: LiveSeries) => core!.kept - snapshotAt;
  const due = series
    .filter((one) => one.core && !one.pieces && !one.saving && one.core.kept > 0)
    // The first one comes soon: it settles what was found out about the series.
    .filter((one) => one.snapshotAt === 0 || age(one) >= patches * model.config.patch)
    .sort((a, b) => age(b) - age(a))
    .slice(0, most);
  const taken = new Map<StoredState, LiveSeries>();
  for (const one of due) {
    const slot = one.slot === 'a' ? 'b' : 'a';
    const state = takeSnapshot(model, one.core!, one.id, slot, one.revisions[slot]);
    taken.set(state, one);
    one.saving = true;
    const list = snapshots.get(one.owner);
    if (list) list.push(state);
    else snapshots.set(one.owner, [state]);
  }
  return taken;
}
