/** What the event decider makes of the speech track: how late its events are, and how often they are wrong. */
import { DEFAULT_EVENTS, decideAll, type EventOptions } from '../../src/audio/events.js';
import { confusion, delays, median } from '../../src/audio/metrics/index.js';
import { type SpeechModel, scanRecording, trackOf } from '../../src/audio/model/index.js';
import type { Heard } from './calibration.js';

export interface Decisions {
  startThreshold: number;
  endThreshold: number;
  startMs: number;
  endMs: number;
  /** Median milliseconds from the label's change until the event is known. */
  onset: number;
  offset: number;
  /** Shares of frames that are decided wrongly. */
  falseAlarms: number;
  misses: number;
  /** Ends a minute of speech that fall into speech which goes on for 100 ms or more. */
  cuts: number;
}

const GRID: Pick<EventOptions, 'startThreshold' | 'endThreshold' | 'startMs' | 'endMs'>[] = [
  DEFAULT_EVENTS,
  ...[0.5, 0.35].flatMap((endThreshold) =>
    [20, 30, 40, 60].map((endMs) => ({ startThreshold: 0.5, endThreshold, startMs: 30, endMs })),
  ),
];

export async function measureDecisions(model: SpeechModel, heard: readonly Heard[]): Promise<Decisions[]> {
  const speech = await Promise.all(
    heard.map(async (h) => trackOf((await scanRecording(model, h.samples)).tracks, 'speech')),
  );
  return GRID.map((options) => {
    const late = { onset: [] as number[], offset: [] as number[] };
    const sum = { truePositives: 0, falsePositives: 0, trueNegatives: 0, falseNegatives: 0 };
    let cuts = 0;
    heard.forEach(({ labels }, i) => {
      const known = new Float32Array(labels.length);
      let from = -1;
      for (const { type, sample } of decideAll(speech[i], {}, options)) {
        const frame = Math.min(labels.length, sample / 160);
        if (type === 'speech_start') from = frame;
        if (type !== 'speech_end') continue;
        known.fill(1, from, frame);
        if (labels.subarray(frame - 1, frame + 10).every((v) => v === 1) && frame + 10 <= labels.length) cuts++;
      }
      const d = delays(known, labels, 0.5);
      late.onset.push(...d.onset);
      late.offset.push(...d.offset);
      const c = confusion(known, labels, 0.5);
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += c[key];
    });
    const spoken = sum.truePositives + sum.falseNegatives;
    const { startThreshold, endThreshold, startMs, endMs } = options;
    return {
      ...{ startThreshold, endThreshold, startMs, endMs },
      onset: median(late.onset) * 10,
      offset: median(late.offset) * 10,
      falseAlarms: sum.falsePositives / (sum.falsePositives + sum.trueNegatives),
      misses: sum.falseNegatives / spoken,
      cuts: cuts / (spoken / 6000),
    };
  });
}

export function decisionTable(rows: readonly Decisions[]): string {
  return [
    '| start / end threshold | start / end ms | onset / offset ms | false alarms | misses | cuts a minute |',
    '|---|---|---|---|---|---|',
    ...rows.map(
      (r) =>
        `| ${r.startThreshold} / ${r.endThreshold} | ${r.startMs} / ${r.endMs} | ${r.onset} / ${r.offset} | ` +
        `${r.falseAlarms.toFixed(3)} | ${r.misses.toFixed(3)} | ${r.cuts.toFixed(2)} |`,
    ),
  ].join('\n');
}
