/**
 * The model card of a trained forecaster, from what the run wrote of itself: nothing in it is typed by hand but the
 * explanations.
 *
 *   node dist/src/forecast/training/model-card.js MODEL_DIR --log LOG.jsonl --index INDEX.md
 *     [--evaluation REPORT.md] [--notes NOTES.md]
 *
 * writes MODEL_DIR/README.md. NOTES.md is put before the training. INDEX.md is the data pool's own table: | dataset | domain | freq | series | obs | … | source | licence | ….
 */
import { readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DEFAULT_CONTEXT } from '../model/forecaster.js';
import { type LogLine, readLog } from './loss-curve.js';

interface ModelFile {
  name: string;
  config: Record<string, unknown>;
  inference?: { context?: number };
  training?: {
    finished: boolean;
    steps: number;
    skipped: number;
    seconds: number;
    parameters: number;
    heldOutLoss: Record<string, number>;
    device: string;
    date: string;
    datasets: string[];
    series: number;
    observations: number;
    configuration: {
      seed: number;
      precision: string;
      model: { patch: number };
      batch: {
        synthetic: number;
        parts: { name: string; windows: number; length: number; weight: number; longestRollout: number }[];
      };
      optimiser: { learningRate: number };
      schedule: { warmup: number; decay: number };
    };
  };
}

export interface DatasetRow {
  dataset: string;
  domain: string;
  frequency: string;
  series: string;
  observations: string;
  source: string;
  licence: string;
}

/** Rows of the tables in an INDEX.md, by dataset. */
export function readIndex(markdown: string): Map<string, DatasetRow> {
  const rows = new Map<string, DatasetRow>();
  let head: string[] = [];
  for (const line of markdown.split('\n')) {
    const cells = line.startsWith('|')
      ? line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim())
      : [];
    if (cells[0] === 'dataset') head = cells;
    else if (cells.length === head.length && cells.length > 1 && !/^[-: ]*$/.test(cells[0]!)) {
      const of = (...names: string[]) => cells[head.findIndex((h) => names.some((name) => h.startsWith(name)))] ?? '';
      rows.set(cells[0]!, {
        dataset: cells[0]!,
        domain: of('domain'),
        frequency: of('freq'),
        series: of('series'),
        observations: of('obs'),
        source: of('source'),
        licence: of('licence'),
      });
    }
  }
  return rows;
}

const count = (n: number) => n.toLocaleString('en');

/** The card as Markdown. @param bytes of the weights' file */
export function modelCard(
  model: ModelFile,
  bytes: number,
  log: LogLine[],
  index: ReadonlyMap<string, DatasetRow>,
  evaluation?: string,
  notes?: string,
): string {
  const { name, config, training, inference } = model;
  const context = inference?.context ?? DEFAULT_CONTEXT;
  if (!training) throw new Error('config.json says nothing of the training run');
  const { batch, optimiser, schedule, precision, seed } = training.configuration;
  const { patch } = training.configuration.model;
  const tokens = batch.parts.reduce((sum, part) => sum + (part.windows * part.length) / patch, 0);
  const windows = batch.parts.reduce((sum, part) => sum + part.windows, 0);
  const longest = Math.max(...batch.parts.map((part) => part.length));
  const masked = patch * Math.max(...batch.parts.map((part) => part.longestRollout));
  const progress = log.filter((line) => line.kind === 'progress');
  const speeds = progress.map((line) => line.tokensPerSecond).sort((a, b) => a - b);
  const median = speeds[speeds.length >> 1];
  const parts = batch.parts.map(
    (part) =>
      `${count(part.windows)} windows of ${count(part.length)} steps (${part.name}, loss weight ${part.weight})`,
  );
  const lines = [
    `# ${name}`,
    '',
    'A zero-shot forecaster of univariate time series: nine quantiles of any horizon from the history alone, and a state of',
    'fixed size that continues with every new value. [docs/forecaster.md](../../docs/forecaster.md) says how it works and',
    'what its parts are worth.',
    '',
    '| | |',
    '|---|---|',
    `| parameters | ${count(training.parameters)} |`,
    `| weights | ${(bytes / 2 ** 20).toFixed(1)} MiB |`,
    ...Object.entries(config).map(([key, value]) => `| ${key} | ${Array.isArray(value) ? value.join(', ') : value} |`),
    '| licence of the weights | Apache-2.0; the training data keep their own licences, listed below |',
    '',
    ...(notes ? [notes.trim(), ''] : []),
    '## Training',
    '',
    `${training.date}, ${training.device}: ${count(training.steps)} optimiser steps in ${count(training.seconds)} s` +
      `${training.finished ? '' : ' (stopped before its end)'}, ${count(training.steps * windows)} windows, ` +
      `${count(training.steps * tokens)} tokens with padding${median ? `, ${count(Math.round(median))} tokens/s` : ''}. ` +
      `${training.skipped} steps were skipped for gradients that were not finite.`,
    '',
    `Every step: ${parts.join('; ')}; ${Math.round(100 * batch.synthetic)} % of the windows synthetic, the others from the`,
    `data below, augmented. AdamW with a learning rate of ${optimiser.learningRate} after ${schedule.warmup} steps, falling`,
    `linearly over the last ${Math.round(100 * schedule.decay)} % of the steps; weights averaged over the end of the run; ${precision} matrix`,
    `operands, f32 everything else; seed ${seed}.`,
    '',
    'Loss on held-out series of the training data (5 % of the series of larger sets), pinball over asinh-scaled values:',
    `${Object.entries(training.heldOutLoss)
      .map(([part, loss]) => `${part} ${loss.toFixed(4)}`)
      .join(', ')}.`,
    '',
    '![loss](loss.svg)',
    '',
    '## Limits',
    '',
    '- It trusts the season it is given: declare it, or let the service find it in the history. With a wrong one, seasonal',
    '  series are forecast markedly worse.',
    `- It reads the last ${count(context)} values in batch. Seasons that do not fit twice into them cannot be used.`,
    `- Windows had at most ${count(longest)} steps, with up to ${count(masked)} of them masked at the end: longer horizons are extrapolated.`,
    '- One series at a time, no covariates and no calendar: holidays are noise to it.',
    '- Levels beyond 10–90 % are extrapolated from the outer quantiles, not learnt.',
    '- A series that has never changed is forecast to stay what it is, without an interval.',
    '- Most of the training series are monthly, yearly, weekly and quarterly figures from economy and demography; sub-hourly',
    '  data are few.',
    '',
    ...(evaluation ? ['## Evaluation', '', demoted(evaluation), ''] : []),
    ...(evaluation ? ['![Ten development series and their forecasts](forecasts.svg)', ''] : []),
    '## Training data',
    '',
    `${count(training.series)} series, ${count(training.observations)} observations, and synthetic series`,
    'generated by `src/forecast/training/synthesis.ts`. Licences as stated by the sources.',
    '',
    '| dataset | domain | frequency | series | observations | source | licence |',
    '|---|---|---|---|---|---|---|',
    ...training.datasets.map((dataset) => {
      const row = index.get(dataset);
      if (!row) throw new Error(`the index says nothing of ${dataset}`);
      return `| ${dataset} | ${row.domain} | ${row.frequency} | ${row.series} | ${row.observations} | ${row.source} | ${row.licence} |`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}

/** A report as a section: its title dropped, its headings one level down, no path of the machine it was made on. */
function demoted(markdown: string): string {
  return markdown
    .replace(/^# .*\n+/, '')
    .replace(/; data \S+\. /, '; ')
    .replace(/^#/gm, '##')
    .trim();
}

function main(args: string[]): void {
  const options = {
    log: { type: 'string' },
    index: { type: 'string' },
    evaluation: { type: 'string' },
    notes: { type: 'string' },
  } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const folder = positionals[0];
  if (!folder || !values.log || !values.index) {
    throw new Error(
      'usage: model-card.js MODEL_DIR --log LOG.jsonl --index INDEX.md [--evaluation REPORT.md] [--notes NOTES.md]',
    );
  }
  const model = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as ModelFile;
  const index = readIndex(readFileSync(values.index, 'utf8'));
  const optional = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file, 'utf8'));
  const { size } = statSync(join(folder, 'model.safetensors'));
  const card = modelCard(model, size, readLog(values.log), index, optional(values.evaluation), optional(values.notes));
  writeFileSync(join(folder, 'README.md'), card);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
