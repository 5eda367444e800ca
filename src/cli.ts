#!/usr/bin/env node
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Command, nearest } from './commands/command.js';
import { AdderError, quote, toAdderError } from './platform/errors.js';

/** The commands, one line each: what `adder --help` says, and the module whose default export is a Command. */
const COMMANDS: Record<string, { summary: string; module: string }> = {
  forecast: { summary: 'forecast the series of a CSV file', module: './commands/forecast.js' },
  demo: { summary: 'forecast a bundled real series', module: './commands/demo.js' },
  listen: { summary: 'hear speech in a recording and what comes next', module: './commands/listen.js' },
  evaluate: { summary: 'measure forecasts against published ones', module: './commands/evaluate.js' },
  train: { summary: 'train a forecaster', module: './commands/train.js' },
  verify: { summary: 'check a Mamba checkpoint folder against golden outputs', module: './commands/verify.js' },
  key: { summary: 'create an API key', module: './commands/key.js' },
  bench: { summary: 'run benchmarks', module: '../bench/main.js' },
};

function usage(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `adder: forecasts from Mamba state space models\n\nusage: adder COMMAND [options]\n\n${lines.join('\n')}\n\nadder COMMAND --help explains a command.\n`;
}

async function load(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!entry) {
    const near = nearest(name, Object.keys(COMMANDS));
    throw new AdderError({
      code: 'UNKNOWN_COMMAND',
      message: `unknown command ${quote(name)}`,
      fix: near ? `did you mean ${near}? adder --help lists the commands` : 'adder --help lists the commands',
    });
  }
  const module = (await import(entry.module)) as { default: Command };
  return module.default;
}

/** Runs one command line (without node and script); resolves to the exit code: 0 done, 1 failed a check, 2 bad input. */
export async function main(args: string[]): Promise<number> {
  try {
    const [name, ...rest] = args;
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      process.stdout.write(usage());
      return 0;
    }
    const command = await load(name);
    const optionsEnd = rest.indexOf('--');
    const options = optionsEnd < 0 ? rest : rest.slice(0, optionsEnd);
    if (options.includes('--help') || options.includes('-h')) {
      process.stdout.write(command.help.endsWith('\n') ? command.help : `${command.help}\n`);
      return 0;
    }
    return await command.run(rest);
  } catch (thrown) {
    const error = toAdderError(thrown);
    process.stderr.write(`${error.toLine()}\n`);
    if (process.env.ADDER_DEBUG)
      process.stderr.write(`${error.stack}\n${String((error.cause as Error)?.stack ?? '')}\n`);
    return 2;
  }
}

// A reader that goes away (`adder forecast … | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

// Run only as the started program, so that tests can import `main`.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
