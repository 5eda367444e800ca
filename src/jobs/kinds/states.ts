import type { AdvanceRequest, ModelInfo } from '../inference/protocol.js';
import type { BatchEngine } from './batch-engine.js';
import type { SeriesUnit } from './series-groups.js';
import type { WorkerParts } from './worker-parts.js';

/** Values that a state takes in at a time. */
const PIECE = 8192;

/**
 * Leaves the state after all values of each unit in the store, for a stream to continue from; says of each whether it was
 * kept, is older than that of a stream, or cannot be (the model has none).
 */
export async function leaveStates(
  { states }: WorkerParts,
  units: readonly SeriesUnit[],
  engine: BatchEngine,
  run: { info: ModelInfo; owner: string; engineModel: string | undefined; signal: AbortSignal },
): Promise<{ state: 'kept' | 'older' | 'none' }[]> {
  const { info, owner, engineModel, signal } = run;
  if (info.rollStep === undefined) return units.map(() => ({ state: 'none' }));
  const reached = units.map((): { state: Uint8Array; digest: string; position: number } | undefined => undefined);
  for (let from = 0; ; from += PIECE) {
    signal.throwIfAborted();
    const due = units.flatMap((unit, i) => (from < unit.prepared.values.length ? [i] : []));
    if (due.length === 0) break;
    const requests = due.map((i): AdvanceRequest => {
      const { values, season, frequency } = units[i]!.prepared;
      return { state: reached[i]?.state, season, frequency, values: values.subarray(from, from + PIECE) };
    });
    const advanced = await engine.advance(requests, engineModel);
    due.forEach((i, k) => {
      reached[i] = advanced[k]!;
    });
  }
  const kept = await states.leave(
    owner,
    units.flatMap(({ row, prepared, timeAt }, i) => {
      const own = reached[i];
      if (!own) return [];
      return [
        {
          seriesId: row.id,
          modelId: info.model,
          weightsDigest: own.digest,
          position: BigInt(own.position),
          lastAt: timeAt(prepared.values.length - 1),
          bytes: Buffer.from(own.state.buffer, own.state.byteOffset, own.state.byteLength),
        },
      ];
    }),
  );
  return units.map(({ row }) => ({ state: kept.has(row.id) ? 'kept' : 'older' }));
}
