import { AdderError } from '../../platform/errors.js';

/** A stretch of talk, milliseconds from the start of the recording. */
export interface Segment {
  from: number;
  to: number;
  speaker?: string;
}

/** Speaker turns of an RTTM file (NIST Rich Transcription): `SPEAKER file channel start seconds … name`. */
export function parseRttm(text: string): Segment[] {
  const out: Segment[] = [];
  text.split('\n').forEach((line, i) => {
    const fields = line.trim().split(/\s+/);
    if (fields[0] !== 'SPEAKER') return;
    const start = Number(fields[3]);
    const seconds = Number(fields[4]);
    if (!(start >= 0 && seconds >= 0)) {
      throw new AdderError({
        code: 'BAD_LABELS',
        message: 'a SPEAKER line without start and length',
        where: { line: i + 1 },
      });
    }
    out.push({ from: start * 1000, to: (start + seconds) * 1000, speaker: fields[7] });
  });
  return out;
}

/** Speech of a `.scv` file: `name,start,end,0|1,start,end,0|1,…` in seconds. */
export function parseScv(text: string): Segment[] {
  const fields = text.trim().split(',');
  const out: Segment[] = [];
  for (let i = 1; i + 2 < fields.length; i += 3) {
    const [from, to, flag] = [Number(fields[i]) * 1000, Number(fields[i + 1]) * 1000, fields[i + 2].trim()];
    if (!(from >= 0 && to >= from) || (flag !== '0' && flag !== '1')) {
      throw new AdderError({
        code: 'BAD_LABELS',
        message: `no start, end and flag at field ${i + 1}`,
        where: { line: 1 },
      });
    }
    if (flag === '1') out.push({ from, to });
  }
  return out;
}

/** One label a frame of `frameMs`: 1 where the frame's middle lies in any segment. */
export function activity(segments: readonly Segment[], frames: number, frameMs = 10): Uint8Array {
  const out = new Uint8Array(frames);
  for (const { from, to } of segments) {
    // Middles lie at (i + ½)·frameMs: the first not before `from`, the last before `to`.
    const first = Math.max(0, Math.ceil(from / frameMs - 0.5 - 1e-9));
    const end = Math.min(frames, Math.ceil(to / frameMs - 0.5 - 1e-9));
    if (end > first) out.fill(1, first, end);
  }
  return out;
}
