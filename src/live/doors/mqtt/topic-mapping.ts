import { AdderError, quote } from '../../../platform/errors.js';
import { instantReader } from '../../../store/rest/read-points.js';
import type { PointSink } from '../stream/json-points.js';
import type { Mapping } from './mqtt-config.js';

/** Values that one message may bring. */
const MAX_VALUES = 1000;
const MAX_DEPTH = 16;

/** The levels that the wildcards of a filter stand for, or undefined when the topic does not match. */
export function matchTopic(filter: string, topic: string): string[] | undefined {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  const wild: string[] = [];
  for (const [i, level] of wanted.entries()) {
    // A filter that ends in /# also means the level above it.
    if (level === '#') return [...wild, levels.slice(i).join('/')];
    if (i >= levels.length) return undefined;
    if (level === '+') wild.push(levels[i]!);
    else if (level !== levels[i]) return undefined;
  }
  return levels.length === wanted.length ? wild : wanted.at(-1) === '#' ? wild : undefined;
}

/** `{topic}`, `{1}` and so on, filled in; what is not known stays as it is. */
export function fillIn(template: string, known: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => (Object.hasOwn(known, name) ? known[name]! : whole));
}

type Read = (topic: string, wild: readonly string[], payload: Buffer, now: number, sink: PointSink) => void;

/** How the messages of a mapping become points. Throws AdderErrors that say what is wrong with a message. */
export function readerOf(mapping: Exclude<Mapping, { format: 'sparkplug' }>): Read {
  const nameFor = (topic: string, wild: readonly string[], field = '') => {
    const levels = Object.fromEntries(wild.map((level, i) => [String(i + 1), level]));
    return fillIn(mapping.series, { ...levels, topic, field });
  };
  if (mapping.format === 'number') {
    return (topic, wild, payload, now, sink) => sink(nameFor(topic, wild), now, plainNumber(payload));
  }
  const values =
    mapping.values && Object.entries(mapping.values).map(([field, path]) => [field, pathOf(path)] as const);
  const time = mapping.time === undefined ? undefined : pathOf(mapping.time);
  const scale = mapping.timeUnit === 's' ? 1000 : 1;
  return (topic, wild, payload, now, sink) => {
    const message = parseJson(payload);
    const stamp = time === undefined ? now : timeOf(at(message, time), scale, mapping.time!);
    const found: [string, number][] = values
      ? values.map(([field, path]) => [field, numberOf(at(message, path), field)])
      : numbersIn(message);
    if (found.length === 0) throw unreadable('the message holds no number');
    for (const [field, value] of found) sink(nameFor(topic, wild, field), stamp, value);
  };
}

function plainNumber(payload: Buffer): number {
  const text = payload.length > 64 ? '' : payload.toString('utf8').trim();
  if (/^(true|on)$/i.test(text)) return 1;
  if (/^(false|off)$/i.test(text)) return 0;
  if (/^(nan|null)$/i.test(text)) return Number.NaN;
  const value = text === '' ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw unreadable(`${quote(payload.toString('utf8', 0, 64))} is no number`);
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch (error) {
    throw unreadable((error as Error).message);
  }
}

/** `a.b[0].c` as its steps. */
function pathOf(path: string): string[] {
  return path
    .replace(/^\$\.?/, '')
    .replace(/\[(\d+)\]/g, '.$1')
    .split('.')
    .filter((step) => step !== '');
}

function at(message: unknown, path: readonly string[]): unknown {
  let value = message;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function numberOf(value: unknown, field: string): number {
  if (value === null) return Number.NaN;
  if (typeof value === 'boolean') return Number(value);
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  throw unreadable(`${field} is ${value === undefined ? 'not there' : `${quote(String(value))}, which is no number`}`);
}

function timeOf(value: unknown, scale: number, field: string): number {
  const number = typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof number === 'number') return Math.round(number * scale);
  try {
    return instantReader()(value);
  } catch (error) {
    throw error instanceof AdderError ? error.at({ field }) : error;
  }
}

/** Every number of a message by its path, such as `battery.level`. */
function numbersIn(message: unknown): [string, number][] {
  const found: [string, number][] = [];
  const walk = (value: unknown, path: string, depth: number) => {
    if (typeof value === 'number' || typeof value === 'boolean') found.push([path, Number(value)]);
    else if (typeof value === 'object' && value !== null && depth < MAX_DEPTH) {
      for (const [key, inner] of Object.entries(value)) {
        if (found.length < MAX_VALUES) walk(inner, path === '' ? key : `${path}.${key}`, depth + 1);
      }
    }
  };
  walk(message, '', 0);
  return found;
}

export const unreadable = (message: string) =>
  new AdderError({
    code: 'UNREADABLE_MESSAGE',
    message,
    fix: 'correct the mapping of this topic in ADDER_MQTT_FILE, or what is published to it',
  });
