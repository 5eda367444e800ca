/**
 * Just enough of ONNX to hand graphs to onnxruntime: a builder whose operations return the names of their results, and
 * the protobuf encoding of ModelProto (onnx.proto, IR version 8, operator set 17).
 */

/** Wire types of protobuf. */
const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;

const FLOAT = 1;
const INT64 = 7;

function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
}
const head = (field: number, wire: number) => varint((field << 3) | wire);
const concat = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const integer = (field: number, value: number) => Uint8Array.from([...head(field, VARINT), ...varint(value)]);
const bytes = (field: number, data: Uint8Array) =>
  concat(Uint8Array.from([...head(field, BYTES), ...varint(data.length)]), data);
const text = (field: number, value: string) => bytes(field, new TextEncoder().encode(value));
function float(field: number, value: number): Uint8Array {
  return concat(Uint8Array.from(head(field, FIXED32)), new Uint8Array(new Float32Array([value]).buffer));
}

type Attribute = number | readonly number[] | { float: number };

function attribute(name: string, value: Attribute): Uint8Array {
  if (typeof value === 'number') return concat(text(1, name), integer(3, value), integer(20, 2));
  if ('float' in value) return concat(text(1, name), float(2, value.float), integer(20, 1));
  return concat(text(1, name), ...value.map((v) => integer(8, v)), integer(20, 7));
}

function tensor(name: string, shape: readonly number[], type: number, data: ArrayBufferView): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return concat(...shape.map((d) => integer(1, d)), integer(2, type), text(8, name), bytes(9, raw));
}

function valueInfo(name: string, shape: readonly number[]): Uint8Array {
  const dims = concat(...shape.map((d) => bytes(1, integer(1, d))));
  return concat(text(1, name), bytes(2, bytes(1, concat(integer(1, FLOAT), bytes(2, dims)))));
}

export class OnnxGraph {
  private readonly nodes: Uint8Array[] = [];
  private readonly initializers: Uint8Array[] = [];
  private readonly inputs: Uint8Array[] = [];
  private readonly outputs: Uint8Array[] = [];
  private count = 0;

  input(name: string, shape: readonly number[]): string {
    this.inputs.push(valueInfo(name, shape));
    return name;
  }

  /** Rename a result to an output of the model. */
  output(name: string, from: string, shape: readonly number[]): void {
    this.nodes.push(concat(text(1, from), text(2, name), text(4, 'Identity')));
    this.outputs.push(valueInfo(name, shape));
  }

  weight(shape: readonly number[], data: Float32Array): string {
    const name = `w${this.count++}`;
    this.initializers.push(tensor(name, shape, FLOAT, data));
    return name;
  }

  scalar(value: number): string {
    return this.weight([], new Float32Array([value]));
  }

  integers(...values: number[]): string {
    const name = `i${this.count++}`;
    this.initializers.push(tensor(name, [values.length], INT64, BigInt64Array.from(values, BigInt)));
    return name;
  }

  /** An operation with several results. */
  many(op: string, inputs: readonly string[], results: number, attributes: Record<string, Attribute> = {}): string[] {
    const names = Array.from({ length: results }, () => `t${this.count++}`);
    this.nodes.push(
      concat(
        ...inputs.map((name) => text(1, name)),
        ...names.map((name) => text(2, name)),
        text(4, op),
        ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
      ),
    );
    return names;
  }

  op(op: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    return this.many(op, inputs, 1, attributes)[0];
  }

  encode(): Uint8Array {
    const graph = concat(
      ...this.nodes.map((node) => bytes(1, node)),
      text(2, 'bench'),
      ...this.initializers.map((t) => bytes(5, t)),
      ...this.inputs.map((v) => bytes(11, v)),
      ...this.outputs.map((v) => bytes(12, v)),
    );
    return concat(integer(1, 8), bytes(7, graph), bytes(8, concat(text(1, ''), integer(2, 17))));
  }
}
