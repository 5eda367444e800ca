/** Where something went wrong; every part is optional and only the known ones are printed. */
export interface ErrorPlace {
  file?: string;
  /** 1-based line of the file. */
  line?: number;
  /** `unique_id` of the series. */
  series?: string;
  /** Column, option or JSON field. */
  field?: string;
}

export interface AdderErrorFields {
  /** Stable upper-case identifier that callers and tests may compare, e.g. `BAD_NUMBER`. */
  code: string;
  /** What happened, one sentence without a full stop. */
  message: string;
  where?: ErrorPlace;
  /** What the caller can do about it. */
  fix?: string;
  cause?: unknown;
}

/**
 * The one error of Adder that is meant for people: what happened, where, and what to do about it.
 * Every door (command line, REST, jobs) prints these fields and never a stack trace.
 */
export class AdderError extends Error {
  override readonly name = 'AdderError';
  readonly code: string;
  readonly where: ErrorPlace | undefined;
  readonly fix: string | undefined;

  constructor(fields: AdderErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.where = fields.where;
    this.fix = fields.fix;
  }

  /** A copy that fills in parts of the place which the thrower did not know (its own parts win). */
  at(place: ErrorPlace): AdderError {
    const error = new AdderError({
      code: this.code,
      message: this.message,
      where: { ...place, ...this.where },
      fix: this.fix,
      cause: this.cause,
    });
    error.stack = this.stack;
    return error;
  }

  /** The fields as plain JSON, for `--out`, REST bodies and job results. */
  toJSON(): { code: string; message: string; where?: ErrorPlace; fix?: string } {
    return {
      code: this.code,
      message: this.message,
      ...(this.where ? { where: this.where } : {}),
      ...(this.fix ? { fix: this.fix } : {}),
    };
  }

  /** `error [CODE] message (file, line 3, series "a", field y); fix: …` on one line, control characters escaped. */
  toLine(): string {
    const place = formatPlace(this.where);
    const line = `error [${this.code}] ${this.message}${place ? ` (${place})` : ''}${this.fix ? `; fix: ${this.fix}` : ''}`;
    return oneLine(line);
  }
}

/** The known parts of a place, comma separated; an empty string when none is known. */
export function formatPlace(where: ErrorPlace | undefined): string {
  if (!where) return '';
  const parts: string[] = [];
  if (where.file !== undefined) parts.push(where.file);
  if (where.line !== undefined) parts.push(`line ${where.line}`);
  if (where.series !== undefined) parts.push(`series ${quote(where.series)}`);
  if (where.field !== undefined) parts.push(`field ${where.field}`);
  return parts.join(', ');
}

/** A value from outside, made safe to print: quoted, escaped, and cut after `limit` characters. */
export function quote(text: string, limit = 40): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return JSON.stringify(cut);
}

/** Replaces control characters, so that no input can break the one-line promise or move the terminal's cursor. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this function removes
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/**
 * Turns anything thrown into an AdderError. System errors of the file layer keep their meaning;
 * anything else is a defect of ours and says so (code INTERNAL).
 */
export function toAdderError(thrown: unknown, place: ErrorPlace = {}): AdderError {
  if (thrown instanceof AdderError) return Object.keys(place).length > 0 ? thrown.at(place) : thrown;
  // Errors of Node's own modules may come from another realm, where `instanceof Error` fails.
  const isError = typeof thrown === 'object' && thrown !== null && 'message' in thrown;
  const error = isError ? (thrown as Error) : new Error(String(thrown));
  const { code, path } = error as NodeJS.ErrnoException;
  // The engine has an error of the same fields, but imports nothing of the platform; so it is known by them.
  const { fix, where: at } = error as { fix?: unknown; where?: ErrorPlace };
  if (typeof code === 'string' && typeof fix === 'string') {
    return new AdderError({ code, message: error.message, where: { ...place, ...at }, fix, cause: error });
  }
  const where = { ...(path ? { file: String(path) } : {}), ...place };
  const known = code === undefined ? undefined : SYSTEM_ERRORS[code];
  if (known) return new AdderError({ code: known.code, message: known.message, where, fix: known.fix, cause: error });
  return new AdderError({
    code: 'INTERNAL',
    message: `unexpected failure: ${error.message}`,
    where,
    fix: 'this is a defect of Adder; run again with ADDER_DEBUG=1 for the stack and report it',
    cause: error,
  });
}

const SYSTEM_ERRORS: Record<string, { code: string; message: string; fix: string }> = {
  ENOENT: { code: 'FILE_NOT_FOUND', message: 'no such file or folder', fix: 'check the path' },
  EISDIR: { code: 'NOT_A_FILE', message: 'this is a folder, not a file', fix: 'name a file' },
  ENOTDIR: { code: 'NOT_A_FOLDER', message: 'a part of this path is not a folder', fix: 'check the path' },
  EACCES: { code: 'NO_PERMISSION', message: 'permission denied', fix: 'check the permissions of the path' },
  EPERM: { code: 'NO_PERMISSION', message: 'operation not permitted', fix: 'check the permissions of the path' },
  ENOSPC: { code: 'DISK_FULL', message: 'no space left on the device', fix: 'free some space or write elsewhere' },
  EROFS: { code: 'NO_PERMISSION', message: 'the file system is read-only', fix: 'write elsewhere' },
};
