/** The outlook of a clip in the form that a client accepts. */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RequestError } from '../../platform/request-error.js';
import { SAMPLE_RATE } from '../decode/index.js';
import { HOP } from '../features/index.js';
import type { ClipOutlook, SideOutlook } from '../hearing/protocol.js';
import { TRACKS, type TrackName } from '../model/index.js';
import { allEvents } from '../outlook/hear.js';
import { rounded, SHOWN_TRACKS, segmentsOf, shownEvent } from '../outlook/outlook.js';
import { outlookJson } from '../outlook/write.js';
import { SIDES, TURN_HOP, TURN_TRACKS } from '../turns/index.js';

export type ClipForm = 'json' | 'ndjson' | 'svg';

/** Rows of one piece of an answer. */
const PIECE = 1000;

/** @throws RequestError `NOT_ACCEPTABLE` */
export function formOf(request: FastifyRequest): ClipForm {
  const accept = (request.headers.accept ?? '').toLowerCase();
  const wanted = accept.split(',').map((part) => part.split(';', 1)[0].trim());
  for (const type of wanted) {
    if (type === '' || type === '*/*' || type === 'application/*' || type === 'application/json') return 'json';
    if (/^application\/(x-)?(ndjson|jsonl|jsonlines)$/.test(type)) return 'ndjson';
    if (type === 'image/svg+xml' || type === 'image/*') return 'svg';
  }
  throw new RequestError({
    status: 406,
    code: 'NOT_ACCEPTABLE',
    message: `no answer has the type ${JSON.stringify(accept.slice(0, 80))}`,
    where: { field: 'accept' },
    fix: 'accept application/json, application/x-ndjson or image/svg+xml',
  });
}

export function sendClip(
  reply: FastifyReply,
  clip: ClipOutlook,
  form: ClipForm,
  names: readonly TrackName[] = SHOWN_TRACKS,
): void {
  if (form === 'svg') {
    reply.header('content-type', 'image/svg+xml; charset=utf-8').send(clip.picture ?? '');
    return;
  }
  const pieces =
    form === 'json' ? outlookJson(clip, names, about(clip), (s) => ofSide(clip.sides[s])) : lines(clip, names);
  const type = form === 'json' ? 'application/json; charset=utf-8' : 'application/x-ndjson; charset=utf-8';
  reply.header('content-type', type).send(Readable.from(pieces));
}

/** What is said of a clip beside its sides. */
function about({ model, samples, source, warnings }: ClipOutlook) {
  return { model, samples, seconds: samples / SAMPLE_RATE, source, warnings };
}

/** What is said of a side beside its tracks and events. */
function ofSide({ events, embeddings }: SideOutlook) {
  return {
    segments: segmentsOf(events).map(({ from, to }) => ({ from, to, seconds: (to - from) / SAMPLE_RATE })),
    ...(embeddings ? { embeddings: { seconds: embeddings.seconds, values: windows(embeddings) } } : {}),
  };
}

function windows({ size, values }: NonNullable<SideOutlook['embeddings']>): (number | null)[][] {
  return Array.from({ length: values.length / size }, (_, i) =>
    Array.from(values.subarray(i * size, (i + 1) * size), rounded),
  );
}

/**
 * One line on the clip, one an event, one a hop; `sample` is where the hop ends. With turns, events and hops name their side,
 * and every frame of the turn model has a line.
 */
function* lines(clip: ClipOutlook, names: readonly TrackName[]): Generator<string> {
  const { sides, count, turns } = clip;
  const head = { type: 'clip', sampleRate: SAMPLE_RATE, hop: HOP, ...about(clip) };
  const more = turns
    ? {
        turnModel: turns.model,
        turnHop: TURN_HOP,
        sides: Object.fromEntries(SIDES.map((side, s) => [side, ofSide(sides[s])])),
      }
    : ofSide(sides[0]);
  yield `${JSON.stringify({ ...head, ...more })}\n`;
  for (const event of allEvents(clip)) {
    const { type, ...rest } = shownEvent(event);
    yield `${JSON.stringify({ type: 'event', event: type, ...rest })}\n`;
  }
  const columns = names.map((name) => [name, TRACKS.indexOf(name)] as const);
  const row = (side: number, i: number) =>
    Object.fromEntries(columns.map(([name, c]) => [name, rounded(sides[side].values[i * TRACKS.length + c])]));
  let piece = '';
  for (let i = 0; i < count; i++) {
    const sample = (i + 1) * HOP;
    const values = turns ? Object.fromEntries(SIDES.map((side, s) => [side, row(s, i)])) : row(0, i);
    piece += `${JSON.stringify({ type: 'hop', sample, ...values })}\n`;
    // A frame of the turn model is two hops.
    if (turns && i % 2 === 1) {
      const from = ((i - 1) / 2) * TURN_TRACKS.length;
      const outlook = TURN_TRACKS.map((name, c) => [name, rounded(turns.tracks.values[from + c])]);
      piece += `${JSON.stringify({ type: 'turn', sample, ...Object.fromEntries(outlook) })}\n`;
    }
    if ((i + 1) % PIECE === 0 || i + 1 === count) {
      yield piece;
      piece = '';
    }
  }
}
