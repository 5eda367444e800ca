import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { extname, join } from 'node:path';
import {
  type AblationRow,
  ablate,
  ablationTable,
  fitCalibration,
  heldOutTasks,
} from '../forecast/evaluation/ablation.js';
import { anomalyTables, evaluateNab, evaluateSkab } from '../forecast/evaluation/anomalies.js';
import { readDataset, readSpecs } from '../forecast/evaluation/dataset.js';
import {
  evaluate,
  type LoadedTask,
  loadTasks,
  type TaskResult,
  type Withheld,
} from '../forecast/evaluation/evaluate.js';
import { type HeldOutTask, leaveOutTwins, readHeldOut } from '../forecast/evaluation/held-out.js';
import { injectedAnomalies, REPORTED_SEED } from '../forecast/evaluation/injected.js';
import { publishedFolder, readBoard, readPublished } from '../forecast/evaluation/published.js';
import { markdownReport } from '../forecast/evaluation/report.js';
import type { Forecaster } from '../forecast/forecaster.js';
import type { NeuralForecaster } from '../forecast/model/forecaster.js';
import { describeModels, isStatistical, resolveForecaster } from '../forecast/models.js';
import { describeStack, parseStack, STACK_PARTS, StackedForecaster } from '../forecast/stack/stack.js';
import { AdderError, quote } from '../platform/errors.js';
import { type Command, checkOutput, parseCommandLine, printNotice } from './command.js';

const help = `usage: adder evaluate --data DIR --specs FILE [options]
       adder evaluate --data DIR --anomalies [options]
       adder evaluate --data DIR --held-out [--ablation | --fit-stack] [options]

Measures a forecaster on held-out data: MASE and WQL for each task beside seasonal naive and published
models, coverage of the 80 and 95 % intervals, speed, and geometric means relative to seasonal naive.

  --data DIR        folder with SPLIT/NAME.ndjson.gz (fields id, freq, target, test, seasonality)
  --specs FILE      JSON array of tasks (suite, name, pool, horizon, windows, mase_m, ratio)
  --published DIR   folder of CSV tables of published scores; DIR/published of the data if absent and there
  --split NAME      folder of the data for tasks that do not name theirs (dev)
  --task TEXT       only tasks whose name contains TEXT; may be repeated
  --model M         what forecasts (adder):
${describeModels()}
  --backend B       webgpu, wasm or reference, for the neural forecaster
  --stack PARTS     bare, or some of ${STACK_PARTS.join(',')} (the model's own):
${describeStack()}
  --ablation        print what each part of the stack adds
  --withhold WHAT   season: let it be chosen as for a user's file; sampling: let it be found in the values alone
  --held-out        instead of the specs: windows of the held-out training series that nothing in training resembles
  --fit-stack       fit the calibration on those windows and write it to stack.json in the model's folder
  --anomalies       instead of the specs: find the labelled anomalies of NAB and SKAB (nab and skab of the split), and those put into
                    training series where DIR has them
  --out FILE        write the report; .md gives Markdown, anything else JSON with the Markdown beside it
`;

const OPTIONS = {
  data: { type: 'string' },
  specs: { type: 'string' },
  published: { type: 'string' },
  split: { type: 'string', default: 'dev' },
  task: { type: 'string', multiple: true },
  model: { type: 'string' },
  backend: { type: 'string' },
  stack: { type: 'string' },
  ablation: { type: 'boolean' },
  withhold: { type: 'string' },
  'held-out': { type: 'boolean' },
  'fit-stack': { type: 'boolean' },
  anomalies: { type: 'boolean' },
  out: { type: 'string' },
} as const;

async function run(args: string[]): Promise<number> {
  const { values } = parseCommandLine('evaluate', args, OPTIONS, 0);
  const option = (name: keyof typeof OPTIONS) => values[name] as string | undefined;
  const dataDir = required(option('data'), '--data');
  const out = option('out');
  const stack = parseStack(option('stack'));
  const withheld = parseWithheld(option('withhold'));
  await checkOutput(out);
  const forecaster = await resolveForecaster(option('model'), {
    backend: option('backend'),
    stack,
    onNotice: printNotice,
  });
  try {
    if (values['fit-stack']) return await fitStack(forecaster, option('model'), dataDir);
    if (values.anomalies) return await findAnomalies(forecaster, values, dataDir);
    const tasks = values['held-out'] ? await readClean(dataDir, option('model')) : await readTasks(values, dataDir);
    const options = {
      withheld,
      onTask: ({ name, windows, seconds, score }: TaskResult) =>
        process.stderr.write(
          `${name}: MASE ${score.mase.toFixed(4)} WQL ${score.wql.toFixed(4)} (${windows} forecasts in ${seconds.toFixed(1)} s)\n`,
        ),
    };
    const date = new Date().toISOString().slice(0, 10);
    let markdown: string;
    let json: object;
    if (values.ablation) {
      const { bare, parts, factors } = asStacked(forecaster);
      const rows = await ablate(bare, parts, factors, tasks, { ...options, onTask: () => {}, onRow: sayRow });
      markdown = `# What the stack of ${forecaster.id} adds\n\n${ablationTable(rows).join('\n')}\n`;
      json = { rows };
    } else {
      const report = await evaluate(forecaster, tasks, options);
      markdown = markdownReport(report, { data: dataDir, date });
      json = report;
    }
    process.stdout.write(markdown);
    if (out) await write(out, markdown, { date, data: dataDir, withheld, machine: machine(), ...json });
    return 0;
  } finally {
    await forecaster.close?.();
  }
}

const machine = () => ({ cpu: cpus()[0]?.model, cores: cpus().length, node: process.version });

async function write(out: string, markdown: string, json: object): Promise<void> {
  const isMarkdown = extname(out) === '.md';
  await writeFile(isMarkdown ? out : `${out.slice(0, out.length - extname(out).length)}.md`, markdown);
  if (!isMarkdown) await writeFile(out, `${JSON.stringify(json, null, 1)}\n`);
}

const sayRow = (row: AblationRow) => process.stderr.write(`${ablationTable([row]).at(-1)}\n`);

async function readTasks(values: Record<string, unknown>, dataDir: string): Promise<LoadedTask[]> {
  const all = await readSpecs(required(values.specs as string | undefined, '--specs'));
  const wanted = values.task as string[] | undefined;
  const specs = wanted ? all.filter((spec) => wanted.some((text) => spec.name.includes(text))) : all;
  if (specs.length === 0) {
    throw new AdderError({
      code: 'NO_TASKS',
      message: 'no task of the specs file matches --task',
      fix: `names are e.g. ${all
        .slice(0, 3)
        .map((s) => s.name)
        .join(', ')}`,
    });
  }
  const folder = publishedFolder(values.published as string | undefined, dataDir);
  process.stderr.write(
    folder ? `published scores from ${folder}\n` : 'no published scores (name a folder with --published)\n',
  );
  const published = folder ? await readPublished(folder) : undefined;
  return loadTasks(specs, { dataDir, split: values.split as string, published });
}

/** Held-out windows without twins in training; the model's own record says what it was not trained on. */
async function readClean(dataDir: string, model: string | undefined): Promise<LoadedTask[]> {
  return heldOutTasks(await cleanWindows(dataDir, model));
}

async function cleanWindows(dataDir: string, model: string | undefined): Promise<HeldOutTask[]> {
  const { DEFAULT_MODEL, modelFolder, readModel } = await import('../forecast/model/load.js');
  const name = model === undefined || model === 'adder' ? DEFAULT_MODEL : model;
  const known = !isStatistical(name);
  const { training } = known ? readModel(modelFolder(name)) : { training: undefined };
  const exclude = (training?.configuration as { exclude?: string[] } | undefined)?.exclude ?? [];
  const all = await readHeldOut(dataDir, exclude);
  const count = (tasks: readonly HeldOutTask[]) => tasks.reduce((sum, { windows }) => sum + windows.length, 0);
  process.stderr.write(`looking for twins of ${count(all.tasks)} held-out windows …\n`);
  const clean = leaveOutTwins(all);
  process.stderr.write(`${count(clean)} windows have none\n`);
  return clean;
}

async function fitStack(forecaster: Forecaster, model: string | undefined, dataDir: string): Promise<number> {
  const { bare, parts } = asStacked(forecaster);
  const { DEFAULT_MODEL, modelFolder } = await import('../forecast/model/load.js');
  const { writeStackSettings } = await import('../forecast/stack/settings.js');
  const folder = modelFolder(model === undefined || model === 'adder' ? DEFAULT_MODEL : model);
  const tasks = await cleanWindows(dataDir, model);
  const others = parts.filter((part) => part !== 'calibration');
  const factors = await fitCalibration(new StackedForecaster(bare, others), tasks);
  const windows = tasks.reduce((sum, task) => sum + task.windows.length, 0);
  const date = new Date().toISOString().slice(0, 10);
  writeStackSettings(folder, {
    version: 1,
    parts: [...others, 'calibration'],
    fitted: { date, model: bare.id, windows },
    factors,
  });
  process.stdout.write(`fitted on ${windows} windows; wrote stack.json to ${folder}\n`);
  return 0;
}

/** By the bare network: a stack looks at one origin at a time, this looks at all. */
async function findAnomalies(
  forecaster: Forecaster,
  values: Record<string, unknown>,
  dataDir: string,
): Promise<number> {
  const { NeuralRoller } = await import('../forecast/model/roll.js');
  const bare = asStacked(forecaster).bare as NeuralForecaster;
  const roller = new NeuralRoller(bare);
  const started = performance.now();
  try {
    const read = (name: string) => readDataset(dataDir, values.split as string, name);
    const nab = await evaluateNab(roller, await read('nab'));
    process.stderr.write(`NAB scored after ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
    const skab = await evaluateSkab(bare, await read('skab'));
    const injected = existsSync(join(dataDir, 'train'))
      ? await evaluateNab(roller, await injectedAnomalies(dataDir, REPORTED_SEED))
      : undefined;
    const report = { model: forecaster.id, nab, skab, injected, seconds: (performance.now() - started) / 1000 };
    const folder = publishedFolder(values.published as string | undefined, dataDir);
    const boards = {
      nab: await readBoard(folder, 'nab_scoreboard.csv'),
      skab: await readBoard(folder, 'skab_leaderboard.csv'),
    };
    const markdown = `${anomalyTables(report, boards).join('\n')}`;
    process.stdout.write(markdown);
    const date = new Date().toISOString().slice(0, 10);
    if (values.out) await write(values.out as string, markdown, { date, data: dataDir, machine: machine(), ...report });
    return 0;
  } finally {
    await roller.close();
  }
}

function asStacked(forecaster: Forecaster): StackedForecaster {
  if (forecaster instanceof StackedForecaster) return forecaster;
  throw new AdderError({
    code: 'BAD_OPTION',
    message: `${forecaster.id} has no stack`,
    where: { field: '--model' },
    fix: 'name a neural forecaster',
  });
}

function parseWithheld(text: string | undefined): Withheld {
  if (text === undefined) return 'nothing';
  if (text === 'season' || text === 'sampling') return text;
  throw new AdderError({
    code: 'BAD_OPTION',
    message: `${quote(text)} cannot be withheld`,
    where: { field: '--withhold' },
    fix: 'use season or sampling',
  });
}

function required(value: string | undefined, option: string): string {
  if (value !== undefined) return value;
  throw new AdderError({ code: 'BAD_OPTION', message: `${option} is missing`, fix: 'see adder evaluate --help' });
}

export default { help, run } satisfies Command;
