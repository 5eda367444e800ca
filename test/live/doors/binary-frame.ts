/** A binary frame of `/v1/live`. */
export function frame(sequence: number, rows: [name: number, time: number, value: number][]): Buffer {
  const out = Buffer.alloc(16 + 20 * rows.length);
  out.write('ADP1', 0, 'latin1');
  out.writeUInt32LE(rows.length, 4);
  out.writeBigUInt64LE(BigInt(sequence), 8);
  rows.forEach(([name, time, value], i) => {
    out.writeDoubleLE(time, 16 + 8 * i);
    out.writeDoubleLE(value, 16 + 8 * (rows.length + i));
    out.writeUInt32LE(name, 16 + 16 * rows.length + 4 * i);
  });
  return out;
}
