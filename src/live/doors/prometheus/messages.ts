/**
 * The protobuf messages of Prometheus remote write, as far as they concern us. Field numbers from
 * https://prometheus.io/docs/specs/prw/remote_write_spec/ and https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
 */
import { BadMessage, type FieldReaders, readFields, readInner, reading, readUint32s } from '../protobuf.js';
import type { Labels } from '../series-name.js';

/** One series of a request. */
export interface RemoteSeries {
  labels: Labels;
  /** Milliseconds since 1970. */
  times: number[];
  values: number[];
  histograms: number;
  exemplars: number;
  /** Only in version 2. */
  metadata: { type: string; help: string; unit: string } | undefined;
}

const newSeries = (): RemoteSeries => ({
  labels: [],
  times: [],
  values: [],
  histograms: 0,
  exemplars: 0,
  metadata: undefined,
});

const NOTHING: FieldReaders = {};

/** Readers of what both versions have under other numbers: the current series is asked for when there is something to add. */
function readersOf(series: () => RemoteSeries) {
  let time = 0;
  let value = 0;
  const fields: FieldReaders = {
    1: (reader) => {
      value = reader.double();
    },
    2: (reader) => {
      time = Number(reader.int64());
    },
  };
  const sample: FieldReaders[number] = (reader) => {
    time = 0;
    value = 0;
    readInner(reader, fields);
    series().times.push(time);
    series().values.push(value);
  };
  const exemplar: FieldReaders[number] = (reader) => {
    readInner(reader, NOTHING);
    series().exemplars++;
  };
  const histogram: FieldReaders[number] = (reader) => {
    readInner(reader, NOTHING);
    series().histograms++;
  };
  return { sample, exemplar, histogram };
}

/** The series of a `prometheus.WriteRequest`, one after another. Throws BadMessage. */
export function readWriteRequest(bytes: Uint8Array): Generator<RemoteSeries> {
  let series = newSeries();
  let labels: [string, string][] = [];
  const { sample, exemplar, histogram } = readersOf(() => series);
  const label: FieldReaders = {
    1: (reader) => {
      labels.at(-1)![0] = reader.string();
    },
    2: (reader) => {
      labels.at(-1)![1] = reader.string();
    },
  };
  const fields: FieldReaders = {
    1: (reader) => {
      labels.push(['', '']);
      readInner(reader, label);
    },
    2: sample,
    3: exemplar,
    4: histogram,
  };
  return reading(bytes, function* (reader) {
    while (reader.pos < reader.len) {
      const [number, type] = reader.tag();
      if (number !== 1) reader.skip(type, number);
      else {
        series = newSeries();
        labels = [];
        readInner(reader, fields);
        yield { ...series, labels };
      }
    }
  });
}

const TYPES = ['', 'counter', 'gauge', 'histogram', 'gaugehistogram', 'summary', 'info', 'stateset'];

/** The series of an `io.prometheus.write.v2.Request`, one after another. Throws BadMessage. */
export function readRequest2(bytes: Uint8Array): Generator<RemoteSeries> {
  let symbols: string[] = [];
  const symbol = (ref: number): string => {
    const text = symbols[ref];
    if (text === undefined) throw new BadMessage(`symbol ${ref} of ${symbols.length} does not exist`);
    return text;
  };
  let series = newSeries();
  let refs: number[] = [];
  const { sample, exemplar, histogram } = readersOf(() => series);
  const metadata = { type: '', help: '', unit: '' };
  const metadataFields: FieldReaders = {
    1: (reader) => {
      metadata.type = TYPES[reader.int32()] ?? '';
    },
    3: (reader) => {
      metadata.help = symbol(reader.uint32());
    },
    4: (reader) => {
      metadata.unit = symbol(reader.uint32());
    },
  };
  const fields: FieldReaders = {
    1: (reader, type) => readUint32s(reader, type, refs),
    2: sample,
    3: histogram,
    4: exemplar,
    5: (reader) => {
      Object.assign(metadata, { type: '', help: '', unit: '' });
      readInner(reader, metadataFields);
      series.metadata = { ...metadata };
    },
  };
  return reading(bytes, function* (reader) {
    symbols = readSymbols(bytes, reader);
    while (reader.pos < reader.len) {
      const [number, type] = reader.tag();
      if (number !== 5) reader.skip(type, number);
      else {
        series = newSeries();
        refs = [];
        readInner(reader, fields);
        if (refs.length % 2 !== 0) throw new BadMessage('a list of label references has an odd length');
        const labels = Array.from({ length: refs.length / 2 }, (_, i): [string, string] => [
          symbol(refs[2 * i]!),
          symbol(refs[2 * i + 1]!),
        ]);
        yield { ...series, labels };
      }
    }
  });
}

/** The symbol table, which may stand behind the series, so it is read first; the reader is back at the begin then. */
function readSymbols(bytes: Uint8Array, reader: Parameters<FieldReaders[number]>[0]): string[] {
  const symbols: string[] = [];
  readFields(reader, bytes.length, {
    4: (inner) => {
      symbols.push(inner.string());
    },
  });
  reader.pos = 0;
  if (bytes.length > 0 && symbols[0] !== '') throw new BadMessage('the first symbol must be empty');
  return symbols;
}
