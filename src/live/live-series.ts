import type { PointScore } from './feed.js';
import type { LogEntry } from './log/entry.js';
import type { SeriesCore } from './series-core.js';
import type { Slot } from './snapshot.js';
import type { Standing } from './standing.js';

/** Points that came while a series is being read; they are worked in afterwards, unless the reading has seen them. */
export interface Piece {
  seq: number;
  times: Float64Array;
  values: Float64Array;
}

/** Pieces that wait for a reading at most; beyond it the series is read once more instead. */
const MAX_PIECES = 2000;

/** One series of a partition that this process owns. */
export class LiveSeries {
  /** The state; undefined until it is read, and while the series has too few points for a grid. */
  core: SeriesCore | undefined;
  /** Log entries up to this one are in `core`. */
  through = 0;
  /** While the series is being read, or waits for that. */
  pieces: Piece[] | undefined;
  /** It must be read once more after the reading that runs. */
  again = false;
  /** Changes at or after this time make snapshots worthless. */
  changedFrom = Number.POSITIVE_INFINITY;
  /** How often it has failed alone since its last output. */
  failures = 0;
  /** Series that it is stepped with at most: few after a failure, until it is known whose it was. */
  together = Number.POSITIVE_INFINITY;
  /** It was logged that its points show no step. */
  named = false;
  /** No longer ours, or deleted. */
  gone = false;
  /** When nobody wanted its forecasts any more, `performance.now()`. */
  idleSince: number | undefined;
  /** Steps that are demanded; 0 while nobody wants a forecast. */
  horizon = 0;
  /** The newest output, as far as the next one needs it; the one in the store may be an earlier one. */
  output: Standing | undefined;
  /** The output in the store. */
  committed: Standing | undefined;
  /** A forecast is wanted although no point came. */
  wanting = false;
  /** Time of the latest step that was compared with the forecast that stood. */
  scoredAt = Number.NEGATIVE_INFINITY;
  /** Where the newest snapshot stands, and the revision of each in the store. */
  snapshotAt = 0;
  slot: Slot = 'b';
  /** A snapshot is on its way to the store. */
  saving = false;
  revisions: Record<Slot, number> = { a: 0, b: 0 };
  /** Scores that wait for the next output. */
  scores: PointScore[] = [];
  /** Latest value that the state has seen. */
  last: { at: number; value: number } | undefined;

  constructor(
    readonly id: bigint,
    readonly owner: string,
    readonly name: string,
    readonly partition: number,
  ) {}

  /** Keeps points for after the reading. */
  keep(piece: Piece): void {
    if (!this.pieces) return;
    if (this.pieces.length >= MAX_PIECES) {
      this.pieces = [];
      this.again = true;
    }
    this.pieces.push(piece);
  }
}

/** The runs of one series each in the points of an entry. */
export function* runsOf({ changes: { points } }: LogEntry): Generator<{ id: number; from: number; to: number }> {
  const { ids } = points;
  for (let from = 0; from < ids.length; ) {
    let to = from + 1;
    while (to < ids.length && ids[to] === ids[from]) to++;
    yield { id: ids[from]!, from, to };
    from = to;
  }
}
