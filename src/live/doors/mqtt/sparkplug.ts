/**
 * Sparkplug B, read as a host application: names of metrics come with births, later messages may use aliases only.
 * https://sparkplug.eclipse.org/specification/version/3.0/documents/sparkplug-specification-3.0.0.pdf
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type FieldReaders, readFields, readInner } from '../protobuf.js';
import type { PointSink } from '../stream/json-points.js';
import { unreadable } from './topic-mapping.js';

interface Metric {
  name: string;
  alias: bigint | undefined;
  /** Milliseconds since 1970. */
  time: number | undefined;
  datatype: number;
  /** NaN is missing; undefined where the metric is no number. */
  value: number | bigint | undefined;
}

interface Payload {
  time: number | undefined;
  seq: number | undefined;
  metrics: Metric[];
}

/** What is known of an edge node or of a device on it. */
type Aliases = Map<bigint, { name: string; datatype: number }>;

interface EdgeNode {
  seq: number | undefined;
  aliases: Map<string, Aliases>;
  askedAt: number;
}

/** Bounds of what strangers can make us remember. */
const MAX_NODES = 10_000;
const MAX_ALIASES = 100_000;
/** A node is asked for its births at most so often. */
const ASK_AGAIN_MS = 10_000;

const TOPIC = /^spBv1\.0\/([^/]+)\/(NBIRTH|NDEATH|DBIRTH|DDEATH|NDATA|DDATA)\/([^/]+)(?:\/(.+))?$/;

export class Sparkplug {
  private readonly nodes = new Map<string, EdgeNode>();

  /** @param ask publishes a command to an edge node */
  constructor(private readonly ask: (topic: string, payload: Uint8Array) => void) {}

  /**
   * Gives the numbers of a message to the sink, named `group/node[/device]/metric`. Where a birth was missed, and so an alias
   * is not known or a message is, the node is asked to tell its births again.
   */
  read(topic: string, bytes: Buffer, now: number, sink: PointSink): void {
    const [, group, type, edge, device] = TOPIC.exec(topic) ?? [];
    // Commands and the state of other hosts are not for us.
    if (!group || !type || !edge) return;
    const id = `${group}/${edge}`;
    const node = this.node(id);
    if (type === 'NDEATH') {
      this.nodes.delete(id);
      return;
    }
    if (type === 'DDEATH') {
      node.aliases.delete(device ?? '');
    }
    const payload = readPayload(bytes);
    if (type === 'NBIRTH') node.aliases.clear();
    if (type.endsWith('BIRTH')) node.aliases.set(device ?? '', aliasesOf(payload.metrics));
    const gap = type !== 'NBIRTH' && (node.seq === undefined || payload.seq !== (node.seq + 1) % 256);
    node.seq = payload.seq;
    const known = node.aliases.get(device ?? '');
    let unknown = gap;
    for (const metric of payload.metrics) {
      const birth = metric.alias === undefined ? undefined : known?.get(metric.alias);
      const name = metric.name || birth?.name;
      if (!name) {
        unknown = true;
        continue;
      }
      // What tells about the node itself is no measurement.
      if (/^(bdSeq$|Node Control\/|Device Control\/)/.test(name)) continue;
      const value = metric.value;
      if (value === undefined) continue;
      const time = metric.time ?? payload.time ?? now;
      sink(`${id}${device ? `/${device}` : ''}/${name}`, time, signed(value, metric.datatype || birth?.datatype || 0));
    }
    if (unknown) this.askForBirth(group, edge, node, now);
  }

  private node(id: string): EdgeNode {
    let node = this.nodes.get(id);
    if (!node) {
      if (this.nodes.size >= MAX_NODES) this.nodes.delete(this.nodes.keys().next().value!);
      node = { seq: undefined, aliases: new Map(), askedAt: Number.NEGATIVE_INFINITY };
      this.nodes.set(id, node);
    }
    return node;
  }

  private askForBirth(group: string, edge: string, node: EdgeNode, now: number): void {
    if (now - node.askedAt < ASK_AGAIN_MS) return;
    node.askedAt = now;
    this.ask(`spBv1.0/${group}/NCMD/${edge}`, rebirth(now));
  }
}

function aliasesOf(metrics: readonly Metric[]): Aliases {
  const aliases: Aliases = new Map();
  for (const { alias, name, datatype } of metrics) {
    if (alias !== undefined && name !== '' && aliases.size < MAX_ALIASES) aliases.set(alias, { name, datatype });
  }
  return aliases;
}

/** Signed integers travel as unsigned ones of 32 or 64 bits. */
function signed(value: number | bigint, datatype: number): number {
  if (typeof value === 'bigint') return Number(datatype === 4 ? BigInt.asIntN(64, value) : value);
  if (datatype === 1) return (value << 24) >> 24;
  if (datatype === 2) return (value << 16) >> 16;
  return datatype === 3 ? value | 0 : value;
}

function readPayload(bytes: Uint8Array): Payload {
  const payload: Payload = { time: undefined, seq: undefined, metrics: [] };
  const fields: FieldReaders = {
    1: (reader) => {
      payload.time = Number(reader.uint64());
    },
    2: (reader) => {
      payload.metrics.push(readMetric(reader));
    },
    3: (reader) => {
      payload.seq = Number(reader.uint64());
    },
  };
  try {
    readFields(new BinaryReader(bytes), bytes.length, fields);
  } catch (error) {
    throw unreadable(`this is no Sparkplug payload: ${(error as Error).message}`);
  }
  return payload;
}

function readMetric(reader: BinaryReader): Metric {
  const metric: Metric = { name: '', alias: undefined, time: undefined, datatype: 0, value: undefined };
  const number =
    (read: (inner: BinaryReader) => number): FieldReaders[number] =>
    (inner) => {
      const value = read(inner);
      metric.value = Number.isFinite(value) ? value : Number.NaN;
    };
  readInner(reader, {
    1: (inner) => {
      metric.name = inner.string();
    },
    2: (inner) => {
      metric.alias = BigInt(inner.uint64());
    },
    3: (inner) => {
      metric.time = Number(inner.uint64());
    },
    4: (inner) => {
      metric.datatype = inner.uint32();
    },
    7: (inner) => {
      if (inner.bool()) metric.value = Number.NaN;
    },
    10: number((inner) => inner.uint32()),
    11: (inner) => {
      metric.value = BigInt(inner.uint64());
    },
    12: number((inner) => inner.float()),
    13: number((inner) => inner.double()),
    14: number((inner) => Number(inner.bool())),
  });
  return metric;
}

/** The command that makes an edge node tell its births again. */
function rebirth(now: number): Uint8Array {
  const metric = new BinaryWriter();
  metric.tag(1, WireType.LengthDelimited).string('Node Control/Rebirth');
  metric.tag(4, WireType.Varint).uint32(11);
  metric.tag(14, WireType.Varint).bool(true);
  const payload = new BinaryWriter();
  payload.tag(1, WireType.Varint).uint64(now);
  payload.tag(2, WireType.LengthDelimited).bytes(metric.finish());
  return payload.finish();
}
