import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { extname } from 'node:path';
import { readSpecs } from '../forecast/evaluation/dataset.js';
import { evaluate } from '../forecast/evaluation/evaluate.js';
import { publishedFolder, readPublished } from '../forecast/evaluation/published.js';
import { markdownReport } from '../forecast/evaluation/report.js';
import { describeModels, resolveForecaster } from '../forecast/models.js';
import { AdderError } from '../platform/errors.js';
import { type Command, checkOutput, parseCommandLine, printNotice } from './command.js';

const help = `usage: adder evaluate --data DIR --specs FILE [options]

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
  out: { type: 'string' },
} as const;

async function run(args: string[]): Promise<number> {
  const { values } = parseCommandLine('evaluate', args, OPTIONS, 0);
  const dataDir = required(values.data as string | undefined, '--data');
  const specsFile = required(values.specs as string | undefined, '--specs');
  const wanted = values.task as string[] | undefined;
  const out = values.out as string | undefined;
  await checkOutput(out);
  const all = await readSpecs(specsFile);
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
  const forecaster = await resolveForecaster(values.model as string | undefined, {
    backend: values.backend as string | undefined,
    onNotice: printNotice,
  });
  try {
    const report = await evaluate(forecaster, specs, {
      dataDir,
      split: values.split as string,
      published,
      onTask: ({ name, windows, seconds, score }) =>
        process.stderr.write(
          `${name}: MASE ${score.mase.toFixed(4)} WQL ${score.wql.toFixed(4)} (${windows} forecasts in ${seconds.toFixed(1)} s)\n`,
        ),
    });
    const date = new Date().toISOString().slice(0, 10);
    const markdown = markdownReport(report, { data: dataDir, date });
    process.stdout.write(markdown);
    if (out) {
      const isMarkdown = extname(out) === '.md';
      const json = {
        date,
        data: dataDir,
        machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
        ...report,
      };
      await writeFile(isMarkdown ? out : `${out.slice(0, out.length - extname(out).length)}.md`, markdown);
      if (!isMarkdown) await writeFile(out, `${JSON.stringify(json, null, 1)}\n`);
    }
    return 0;
  } finally {
    await forecaster.close?.();
  }
}

function required(value: string | undefined, option: string): string {
  if (value !== undefined) return value;
  throw new AdderError({ code: 'BAD_OPTION', message: `${option} is missing`, fix: 'see adder evaluate --help' });
}

export default { help, run } satisfies Command;
