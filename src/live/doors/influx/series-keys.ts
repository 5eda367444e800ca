import type { SeriesFields } from '../../../store/series.js';
import { type Labels, labelMetadata, seriesName } from '../series-name.js';
import { FieldError } from './field-value.js';

/** `measurement,tag=value` of a line, understood once. */
export interface SeriesKey {
  prefix: string;
  measurement: string;
  tags: Labels;
  /** Name of the series by the field as it is written. */
  fields: Map<string, string>;
}

/** Characters remembered at most; beyond it all is forgotten and learnt again from the lines that come. */
const MAX_REMEMBERED = 64 * 2 ** 20;
/** Longest key of a line, bytes, as InfluxDB has it. */
const MAX_KEY = 65_535;

/** Names of the series behind the keys of lines. */
export class SeriesKeys {
  private readonly byPrefix = new Map<string, Map<string, SeriesKey>>();
  private readonly origin = new Map<string, { key: SeriesKey; field: string }>();
  private size = 0;

  /** The keys under a prefix. Begins a batch: what is remembered stays until the next call. */
  under(prefix: string): Map<string, SeriesKey> {
    if (this.size > MAX_REMEMBERED) {
      this.byPrefix.clear();
      this.origin.clear();
      this.size = 0;
    }
    let keys = this.byPrefix.get(prefix);
    if (!keys) {
      keys = new Map();
      this.byPrefix.set(prefix, keys);
      this.size += prefix.length;
    }
    return keys;
  }

  /** Learns a key. Throws a FieldError when it is not well formed. */
  add(keys: Map<string, SeriesKey>, raw: string, prefix: string): SeriesKey {
    if (raw.length > MAX_KEY) throw new FieldError(`max key length exceeded: ${raw.length} > ${MAX_KEY}`);
    const [measurement, ...pairs] = splitAt(raw, ',');
    if (!measurement) throw new FieldError('missing measurement');
    const tags = pairs.map((pair): [string, string] => {
      const [name, value, ...more] = splitAt(pair, '=');
      if (!name) throw new FieldError('missing tag key');
      if (!value) throw new FieldError('missing tag value');
      if (more.length > 0) throw new FieldError('invalid tag format');
      return [plain(name, /\\([,= ])/g), plain(value, /\\([,= ])/g)];
    });
    if (new Set(tags.map(([name]) => name)).size < tags.length) throw new FieldError('duplicate tags');
    const key = { prefix, measurement: plain(measurement, /\\([, ])/g), tags, fields: new Map<string, string>() };
    // A slice keeps the whole body alive; what is remembered is a copy.
    keys.set(copy(raw), key);
    this.size += 2 * raw.length;
    return key;
  }

  /** Learns a field of a key and returns the name of its series. */
  addField(key: SeriesKey, raw: string): string {
    const field = plain(raw, /\\([,= ])/g);
    const name = seriesName(`${key.prefix}${key.measurement}.${field}`, key.tags);
    key.fields.set(copy(raw), name);
    this.origin.set(name, { key, field });
    this.size += raw.length + name.length;
    return name;
  }

  /** What is stored with a series that this batch names for the first time. */
  describe(name: string): SeriesFields {
    const found = this.origin.get(name);
    if (!found) return {};
    const { measurement, tags } = found.key;
    return { metadata: labelMetadata({ measurement, field: found.field }, 'tag.', tags) };
  }
}

/** Parts between separators that no backslash precedes. */
function splitAt(text: string, separator: string): string[] {
  if (!text.includes('\\')) return text.split(separator);
  const parts: string[] = [];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === separator) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

/** Bytes to text, escapes resolved. */
const plain = (bytes: string, escapes: RegExp) => Buffer.from(bytes.replace(escapes, '$1'), 'latin1').toString('utf8');

const copy = (text: string) => Buffer.from(text, 'latin1').toString('latin1');
