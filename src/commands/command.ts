import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { AdderError, oneLine, quote, toAdderError } from '../platform/errors.js';

/** One command of `adder`; each file under `commands/` exports one as its default. */
export interface Command {
  /** The whole text of `adder NAME --help`. */
  readonly help: string;
  /** Runs with the arguments after the command's name; resolves to the exit code. Throws AdderError for bad input. */
  run(args: string[]): Promise<number>;
}

type Options = NonNullable<ParseArgsConfig['options']>;

/**
 * `util.parseArgs` with our errors: an unknown option, a missing value or a surplus argument becomes an AdderError
 * that names the option and points to `--help`.
 *
 * @param name the command's name, for the message
 * @param maxPositionals how many arguments without a dash the command takes
 */
export function parseCommandLine<T extends Options>(name: string, args: string[], options: T, maxPositionals: number) {
  const config = { args: joinNegativeValues(args), options, allowPositionals: true, strict: true } as const;
  let parsed: ReturnType<typeof parseArgs<typeof config>>;
  try {
    parsed = parseArgs(config);
  } catch (cause) {
    const text = (cause as Error).message;
    const named = /'(-[^']*)'/.exec(text)?.[1]?.split(' ')[0]?.replace(/,$/, '');
    const unknown = (cause as NodeJS.ErrnoException).code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION';
    const near = unknown && named ? nearest(named.replace(/^-+/, ''), Object.keys(options)) : undefined;
    throw new AdderError({
      code: unknown ? 'UNKNOWN_OPTION' : 'BAD_OPTION',
      message: unknown ? `unknown option ${named ?? ''}`.trim() : (text.split('. ')[0]?.replace(/\.$/, '') ?? text),
      fix: near ? `did you mean --${near}? See adder ${name} --help` : `see adder ${name} --help`,
      cause,
    });
  }
  if (parsed.positionals.length > maxPositionals) {
    throw new AdderError({
      code: 'BAD_ARGUMENT',
      message: `unexpected argument ${quote(parsed.positionals[maxPositionals] ?? '')}`,
      fix: `see adder ${name} --help`,
    });
  }
  return parsed;
}

/** parseArgs refuses `--h -3` as ambiguous; joined as `--h=-3` it reaches our own range check and its clearer message. */
function joinNegativeValues(args: string[]): string[] {
  const out: string[] = [];
  for (const arg of args) {
    const last = out.at(-1);
    if (/^-\d/.test(arg) && last !== undefined && /^--[a-z-]+$/.test(last)) out[out.length - 1] = `${last}=${arg}`;
    else out.push(arg);
  }
  return out;
}

/** The value of a whole-number option within [min, max]; `undefined` stays `undefined`. */
export function integerOption(value: string | undefined, option: string, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  const number = /^[+-]?\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new AdderError({
      code: 'BAD_OPTION',
      message: `${option} takes a whole number from ${min} to ${max}, not ${quote(value)}`,
      fix: `e.g. ${option} ${Math.min(max, Math.max(min, 12))}`,
    });
  }
  return number;
}

/** Says on standard error what was done to the input, or chosen for the user. */
export function printNotice(text: string): void {
  process.stderr.write(`notice: ${oneLine(text)}\n`);
}

/** Refuses an output file that cannot be written, before the work is done rather than after it. */
export async function checkOutput(file: string | undefined): Promise<void> {
  if (file === undefined) return;
  try {
    await access(dirname(file), constants.W_OK);
    if ((await stat(file)).isDirectory()) throw Object.assign(new Error('a folder'), { code: 'EISDIR', path: file });
  } catch (cause) {
    const { code, path } = cause as NodeJS.ErrnoException;
    // That the file itself is not there yet is as it should be.
    if (code === 'ENOENT' && path === file) return;
    throw toAdderError(cause);
  }
}

/** The known word closest to `word` by edit distance, if one is close enough to be a likely slip. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance with one row of memory. */
function editDistance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0]!;
    row[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j]!;
      row[j] = Math.min(above + 1, row[j - 1]! + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1));
      diagonal = above;
    }
  }
  return row[b.length]!;
}
