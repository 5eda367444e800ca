/**
 * Floors of turn forecasting on real two-party calls: 4-state Markov, boosting on history, silence timers.
 *
 *   node dist/bench/audio/turns.js --data DIR/swb_turns [--out FILE]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Call, callActivity, readCalls } from '../../src/audio/data/turns.js';
import { backchannelLabels, silenceEvents, VAP_BINS, vapLabels } from '../../src/audio/data/vap.js';
import { Boosting } from '../../src/audio/floors/boosting.js';
import { MarkovTurns } from '../../src/audio/floors/markov.js';
import { HISTORY_COLUMNS, TurnHistory } from '../../src/audio/floors/turn-history.js';
import {
  auc,
  calibration,
  cutAtLatency,
  IGNORE,
  latencyAtCut,
  logLoss,
  type Span,
  sweep,
} from '../../src/audio/metrics/index.js';
import { scanConversation, TURN_TRACKS, type TurnModel } from '../../src/audio/turns/index.js';
import { parseCommandLine } from '../../src/commands/command.js';
import { Random } from '../../src/engine/random.js';
import { AdderError } from '../../src/platform/errors.js';

type Activity = readonly [Uint8Array, Uint8Array];
const BINS = VAP_BINS.length;

export interface TurnFloors {
  calls: { train: number; validation: number };
  /** Per projection bin; sides pooled. */
  markov: { logLoss: number[]; auc: number[] };
  boosting: { logLoss: number[]; auc: number[] };
  /** Share of frames with nobody, A, B, both. */
  states: number[];
  events: { count: number; shiftShare: number };
  /** AUC of shift against hold, 0.2 s into the silence. */
  shiftHoldAuc: number;
  policies: Record<'silence' | 'boosting', Policies>;
}

export interface Policies {
  cut300: number;
  cut600: number;
  latency5: number;
  latency10: number;
}

/** The turn model on validation calls. */
export interface TurnModelResult {
  logLoss: number[];
  auc: number[];
  /** Expected calibration error a bin, of back-channels, and of shifts 0.2 s into a silence. */
  calibration: { bins: number[]; backchannel: number; shift: number };
  shiftHoldAuc: number;
  backchannelAuc: number;
  policies: Policies;
  microsPerFrame: number;
}

/** Every call whole, from its first frame, history only. */
export async function measureTurnModel(model: TurnModel, calls: readonly Call[]): Promise<TurnModelResult> {
  const width = TURN_TRACKS.length;
  const said = [...VAP_BINS, 'backchannel'].map(() => [] as number[]);
  const came = said.map(() => [] as number[]);
  const spans: Span[] = [];
  const early: { score: number; label: number }[] = [];
  let micros = 0;
  let frames = 0;
  for (const call of calls) {
    const activity = callActivity(call);
    const started = performance.now();
    const { values, count } = await scanConversation(model, activity);
    micros += 1000 * (performance.now() - started);
    frames += count;
    const labels = vapLabels(activity);
    const backchannels = backchannelLabels(call, count);
    for (let t = 0; t < count; t += 5) {
      for (let k = 0; k < 2 * BINS; k++) {
        const label = labels[t * 2 * BINS + k];
        if (label === IGNORE) continue;
        said[k % BINS].push(values[t * width + k]);
        came[k % BINS].push(label);
      }
      for (let s = 0; s < 2; s++) {
        said[BINS].push(values[t * width + 2 * BINS + s]);
        came[BINS].push(backchannels[t * 2 + s]);
      }
    }
    for (const event of silenceEvents(activity)) {
      const scores: number[] = [];
      for (let t = event.start + GRID - 1; t < Math.min(event.end, event.start + LONGEST); t += GRID) {
        scores.push(values[t * width + width - 1]);
      }
      early.push({ score: scores[1], label: event.kind === 'shift' ? 1 : 0 });
      spans.push({ kind: event.kind === 'shift' ? 'eot' : 'hold', seconds: (event.end - event.start) / 50, scores });
    }
  }
  const errors = said.map((s, b) => calibration(s, came[b]).error);
  const [scores, shifts] = [early.map((e) => e.score), early.map((e) => e.label)];
  return {
    logLoss: said.slice(0, BINS).map((s, b) => logLoss(s, came[b])),
    auc: said.slice(0, BINS).map((s, b) => auc(s, came[b])),
    calibration: { bins: errors.slice(0, BINS), backchannel: errors[BINS], shift: calibration(scores, shifts).error },
    shiftHoldAuc: auc(scores, shifts),
    backchannelAuc: auc(said[BINS], came[BINS]),
    policies: policies(spans),
    microsPerFrame: micros / frames,
  };
}

/** Log-loss and AUC a bin, both sides pooled, every `step`-th frame. */
export function scoreBins(
  calls: readonly Activity[],
  predict: (call: Activity) => (t: number, side: 0 | 1, bin: number) => number,
  step: number,
): { logLoss: number[]; auc: number[] } {
  const said: number[][] = VAP_BINS.map(() => []);
  const came: number[][] = VAP_BINS.map(() => []);
  for (const call of calls) {
    const labels = vapLabels(call);
    const ask = predict(call);
    for (let t = 0; t < call[0].length; t += step) {
      for (let k = 0; k < 2 * BINS; k++) {
        const label = labels[t * 2 * BINS + k];
        if (label === IGNORE) continue;
        const [side, bin] = [k < BINS ? 0 : 1, k % BINS] as [0 | 1, number];
        said[bin].push(ask(t, side, bin));
        came[bin].push(label);
      }
    }
  }
  return { logLoss: said.map((s, b) => logLoss(s, came[b])), auc: said.map((s, b) => auc(s, came[b])) };
}

/** One booster a bin, on rows drawn from the training calls. */
function fitBins(calls: readonly Activity[], rows: number): Boosting[] {
  const random = new Random(7);
  const x = new Float32Array(rows * HISTORY_COLUMNS);
  const y = VAP_BINS.map(() => new Uint8Array(rows));
  const each = Math.ceil(rows / calls.length);
  let n = 0;
  for (const call of calls) {
    const history = new TurnHistory(call);
    const labels = vapLabels(call);
    const last = call[0].length - 1 - VAP_BINS[BINS - 1][1];
    for (let i = 0; i < each && n < rows && last > 0; i++, n++) {
      const t = random.integer(last);
      const side = random.integer(2) as 0 | 1;
      history.write(t, side, x, n * HISTORY_COLUMNS);
      for (let b = 0; b < BINS; b++) y[b][n] = labels[t * 2 * BINS + side * BINS + b];
    }
  }
  return y.map((labels) => Boosting.fit(x.subarray(0, n * HISTORY_COLUMNS), HISTORY_COLUMNS, labels.subarray(0, n)));
}

/** Frames of a silence at which it is judged: every 0.1 s. */
const GRID = 5;
const LONGEST = 35 * GRID;

/** A booster for "the other side goes on", from rows at 0.1 s steps of silences, seen by the side that spoke. */
function fitShift(calls: readonly Activity[]): Boosting {
  const x: number[] = [];
  const y: number[] = [];
  const row = new Float32Array(HISTORY_COLUMNS);
  for (const call of calls) {
    const history = new TurnHistory(call);
    for (const event of silenceEvents(call)) {
      for (let t = event.start + GRID - 1; t < Math.min(event.end, event.start + 20 * GRID); t += GRID) {
        history.write(t, event.before, row);
        for (const v of row) x.push(v);
        y.push(event.kind === 'shift' ? 1 : 0);
      }
    }
  }
  return Boosting.fit(Float32Array.from(x), HISTORY_COLUMNS, y);
}

function policies(spans: readonly Span[]) {
  const results = sweep(spans);
  return {
    cut300: cutAtLatency(results, 0.3),
    cut600: cutAtLatency(results, 0.6),
    latency5: latencyAtCut(results, 0.05),
    latency10: latencyAtCut(results, 0.1),
  };
}

export function measureTurns(train: readonly Activity[], validation: readonly Activity[], rows = 150_000): TurnFloors {
  const markov = MarkovTurns.fit(train);
  const boosters = fitBins(train, rows);
  const states = [0, 0, 0, 0];
  for (const [a, b] of validation) for (let t = 0; t < a.length; t++) states[a[t] + 2 * b[t]]++;
  const total = states.reduce((s, v) => s + v, 0);
  const shift = fitShift(train);
  const spans: { kind: 'eot' | 'hold'; seconds: number; scores: number[] }[] = [];
  const early: { score: number; label: number }[] = [];
  const row = new Float32Array(HISTORY_COLUMNS);
  for (const call of validation) {
    const history = new TurnHistory(call);
    for (const event of silenceEvents(call)) {
      const scores: number[] = [];
      for (let t = event.start + GRID - 1; t < Math.min(event.end, event.start + LONGEST); t += GRID) {
        history.write(t, event.before, row);
        scores.push(shift.predict(row));
      }
      early.push({ score: scores[1], label: event.kind === 'shift' ? 1 : 0 });
      spans.push({ kind: event.kind === 'shift' ? 'eot' : 'hold', seconds: (event.end - event.start) / 50, scores });
    }
  }
  return {
    calls: { train: train.length, validation: validation.length },
    markov: scoreBins(
      validation,
      ([a, b]) =>
        (t, side, bin) =>
          markov.probability(a[t], b[t], side, bin),
      5,
    ),
    boosting: scoreBins(
      validation,
      (call) => {
        const history = new TurnHistory(call);
        const cell = new Float32Array(HISTORY_COLUMNS);
        return (t, side, bin) => {
          if (bin === 0) history.write(t, side, cell);
          return boosters[bin].predict(cell);
        };
      },
      25,
    ),
    states: states.map((s) => s / total),
    events: { count: early.length, shiftShare: early.filter((e) => e.label === 1).length / early.length },
    shiftHoldAuc: auc(
      early.map((e) => e.score),
      early.map((e) => e.label),
    ),
    policies: {
      // A timer is a detector that is always sure: it fires at the policy's delay or timeout.
      silence: policies(spans.map((s) => ({ ...s, scores: [1] }))),
      boosting: policies(spans),
    },
  };
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseCommandLine('bench audio', args, { data: { type: 'string' }, out: { type: 'string' } }, 0);
  const root = process.env.ADDER_SPEECH_DATA;
  const folder = values.data ?? (root && join(root, 'swb_turns'));
  if (!folder) {
    throw new AdderError({
      code: 'NO_DATA',
      message: 'no calls named',
      fix: 'give --data DIR or set ADDER_SPEECH_DATA',
    });
  }
  const [train, validation] = ['train', 'val'].map((f) => readCalls(join(folder, `${f}.jsonl.gz`)).map(callActivity));
  const result = measureTurns(train, validation);
  console.log(JSON.stringify(result, (_, v) => (typeof v === 'number' ? Math.round(v * 1e4) / 1e4 : v), 2));
  if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof AdderError ? error.toLine() : error);
    process.exitCode = 1;
  });
}
