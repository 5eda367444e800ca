import { AdderError } from '../../../platform/errors.js';

/** Longest line of a stream, bytes. */
const MAX_LINE = 2 ** 20;

/** Cuts a stream of bytes into lines; what is kept between two pieces is bounded. */
export class LineSplitter {
  private rest: Buffer[] = [];
  private size = 0;

  /** The lines that end in this piece, without their ends. Throws `LINE_TOO_LONG`. */
  *push(piece: Buffer): Generator<string> {
    let from = 0;
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, from)) {
      const own = piece.subarray(from, at);
      from = at + 1;
      yield this.size === 0 ? this.checked(own).toString('utf8') : this.joined(own);
    }
    if (from < piece.length) this.keep(piece.subarray(from));
  }

  /** What follows the last line end, or undefined. */
  last(): string | undefined {
    return this.size === 0 ? undefined : this.joined(Buffer.alloc(0));
  }

  private joined(own: Buffer): string {
    const whole = Buffer.concat([...this.rest, own]);
    this.rest = [];
    this.size = 0;
    return this.checked(whole).toString('utf8');
  }

  private keep(part: Buffer): void {
    this.size += part.length;
    if (this.size > MAX_LINE) throw tooLong();
    this.rest.push(part);
  }

  private checked(line: Buffer): Buffer {
    if (line.length > MAX_LINE) throw tooLong();
    return line;
  }
}

const tooLong = () =>
  new AdderError({
    code: 'LINE_TOO_LONG',
    message: `a line has more than ${MAX_LINE} bytes`,
    fix: 'end each point with a newline',
  });
