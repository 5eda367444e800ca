import { RequestError } from '../../platform/request-error.js';
import type { HearingProcess } from '../hearing/hearing-process.js';
import type { ClipOutlook, ScanAsk } from '../hearing/protocol.js';

/** Clips that may wait for those before them, and their bytes together. */
const MAX_WAITING = 32;
const MAX_WAITING_BYTES = 512 * 2 ** 20;

/** Scans of requests, one after another, in a process of their own. */
export class ClipScanner {
  private waiting = 0;
  private bytes = 0;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly process: HearingProcess) {}

  /** @throws RequestError `OVERLOADED`; AdderErrors of the decoder */
  async scan(ask: Omit<ScanAsk, 'kind'>): Promise<ClipOutlook | 'tooLong'> {
    const size = ask.bytes.byteLength;
    if (this.waiting >= MAX_WAITING || (this.waiting > 0 && this.bytes + size > MAX_WAITING_BYTES)) {
      throw new RequestError({
        status: 503,
        code: 'OVERLOADED',
        message: `${this.waiting} clips are waiting`,
        fix: 'try again shortly',
        retryAfter: 5,
      });
    }
    this.waiting++;
    this.bytes += size;
    try {
      // The process watches how long an answer takes, so it is asked when it is free.
      const answer = this.turn.then(() => this.process.ask({ kind: 'scan', ...ask }));
      this.turn = answer.catch(() => {});
      return await answer;
    } finally {
      this.waiting--;
      this.bytes -= size;
    }
  }

  close(): Promise<void> {
    return this.process.close();
  }
}
