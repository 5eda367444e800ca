import { createHash } from 'node:crypto';
import type { SeriesFields } from '../../store/series.js';

/** Longest name of a series in the store. */
const MAX_NAME = 256;
/** Metadata of a series is small; what does not fit is still part of its name. */
const MAX_LABELS = 90;
const MAX_TEXT = 1024;

export type Labels = readonly (readonly [name: string, value: string])[];

/**
 * The name of a series that its protocol identifies by labels: `base{a="1",b="2"}`, labels in the order of their names, so
 * that one set of labels has one name. A name that is too long for the store keeps its beginning and ends in a digest of all.
 */
export function seriesName(base: string, labels: Labels): string {
  const sorted = [...labels].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const inside = sorted.map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`).join(',');
  const name = printable(inside === '' ? base : `${base}{${inside}}`);
  if (name.length <= MAX_NAME) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 24);
  // A cut between the halves of a character would leave something that PostgreSQL refuses.
  return `${name.slice(0, MAX_NAME - 26).replace(/[\ud800-\udbff]$/, '')}…#${digest}`;
}

/** What is kept with such a series when it is first seen. */
export function labelMetadata(
  head: Record<string, string | undefined>,
  prefix: string,
  labels: Labels,
): NonNullable<SeriesFields['metadata']> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(head)) if (value) metadata[name] = cut(value);
  for (const [name, value] of labels.slice(0, MAX_LABELS)) metadata[cut(`${prefix}${name}`).slice(0, 128)] = cut(value);
  return metadata;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters cannot be stored in a name
const CONTROL = /[\u0000-\u001f\u007f]/g;

/** Control characters as \u escapes, lone halves of characters as U+FFFD: distinct names stay distinct. */
const printable = (text: string) =>
  text
    .replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(/\p{Surrogate}/gu, '\ufffd');

const cut = (text: string) => printable(text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text);
