import { isUtf8 } from 'node:buffer';
import { AdderError } from '../../platform/errors.js';

/** The separator that splits the header line into most fields; a comma when none does. */
export function delimiterOf(head: Buffer): string {
  const line = head.toString('utf8').split(/\r?\n|\r/, 1)[0] ?? '';
  const count = (mark: string) => line.split(mark).length - 1;
  return [',', ';', '\t'].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
}

/** Recognises what people mistake for CSV by its first bytes. */
export function refuseBinary(head: Buffer): void {
  const hex = head.subarray(0, 4).toString('hex');
  const refuse = (code: string, message: string, fix: string) => {
    throw new AdderError({ code, message, fix });
  };
  if (hex.startsWith('fffe') || hex.startsWith('feff')) refuse('NOT_UTF8', 'the file is UTF-16', 'save it as UTF-8');
  if (hex.startsWith('1f8b'))
    refuse('NOT_CSV', 'the file is gzip-compressed', 'unpack it first: gunzip -c FILE | adder forecast - …');
  if (hex === '504b0304')
    refuse('NOT_CSV', 'the file is a ZIP archive or a spreadsheet', 'unpack it, or export the sheet as CSV');
  if (hex === '50415231') refuse('NOT_CSV', 'the file is Parquet', 'export it as CSV');
  if (head.subarray(0, 4096).includes(0))
    refuse('NOT_CSV', 'the file holds zero bytes, so it is no text', 'give a UTF-8 CSV file');
}

/** Checks a stream of chunks for valid UTF-8 without decoding it twice. */
export class Utf8Check {
  private rest: Buffer = Buffer.alloc(0);
  private lines = 1;

  push(chunk: Buffer): void {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    const whole = completeLength(bytes);
    const checked = bytes.subarray(0, whole);
    if (!isUtf8(checked)) throw this.error(checked);
    for (let at = checked.indexOf(10); at >= 0; at = checked.indexOf(10, at + 1)) this.lines++;
    this.rest = Buffer.from(bytes.subarray(whole));
  }

  end(): void {
    if (this.rest.length > 0) throw this.error(this.rest);
  }

  private error(bytes: Buffer): AdderError {
    // Halve towards the first bad byte to name its line.
    let good = 0;
    let bad = bytes.length;
    while (bad - good > 1) {
      const middle = (good + bad) >> 1;
      if (isUtf8(bytes.subarray(0, completeLength(bytes.subarray(0, middle))))) good = middle;
      else bad = middle;
    }
    let line = this.lines;
    for (let i = 0; i < good; i++) if (bytes[i] === 10) line++;
    return new AdderError({
      code: 'NOT_UTF8',
      message: 'the file is not valid UTF-8',
      where: { line },
      fix: 'save it as UTF-8, e.g. iconv -f latin1 -t utf-8 FILE',
    });
  }
}

/** Length of `bytes` without a character that the next chunk may complete. */
function completeLength(bytes: Buffer): number {
  const n = bytes.length;
  for (let back = 1; back <= Math.min(3, n); back++) {
    const byte = bytes[n - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return need > back ? n - back : n;
  }
  return n;
}
