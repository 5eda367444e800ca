/** `npm run bench -- engine [--out FILE]`: benchmarks, printed as a table and written as JSON. */
import { type Command, parseCommandLine } from '../src/commands/command.js';
import { AdderError } from '../src/platform/errors.js';

const SUITES: Record<string, () => Promise<{ run(options: SuiteOptions): Promise<void> }>> = {
  engine: () => import('./engine.js'),
  service: () => import('./service/index.js'),
  live: () => import('./live/index.js'),
  audio: () => import('./audio/index.js'),
};

export interface SuiteOptions {
  /** Result file without or with `.json`; a table goes beside it. */
  out?: string;
  /** Which backends to measure; all that are there by default. */
  backend?: string;
  /** Parts of the suite to run, by name; all by default. */
  only?: string[];
}

const command: Command = {
  help: `usage: adder bench ${Object.keys(SUITES).join('|')} [--backend webgpu|wasm] [--only PART,PART] [--out FILE]

Runs a benchmark suite on this machine and prints a table: medians, their spread, and what was to be reached.
--out writes the figures as JSON and the table beside them as Markdown.
`,
  async run(args) {
    const { values, positionals } = parseCommandLine(
      'bench',
      args,
      { out: { type: 'string' }, backend: { type: 'string' }, only: { type: 'string' } },
      1,
    );
    const [name] = positionals;
    const suite = name !== undefined && Object.hasOwn(SUITES, name) ? SUITES[name] : undefined;
    if (!suite) {
      throw new AdderError({
        code: 'UNKNOWN_BENCHMARK',
        message: name === undefined ? 'no benchmark named' : `unknown benchmark ${JSON.stringify(name)}`,
        fix: `name one of ${Object.keys(SUITES).join(', ')}`,
      });
    }
    await (await suite()).run({ out: values.out, backend: values.backend, only: values.only?.split(',') });
    return 0;
  },
};

export default command;
