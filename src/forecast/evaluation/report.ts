import { type EvaluationReport, REFERENCE_MODELS, type SuiteSummary, type TaskResult } from './evaluate.js';
import type { PublishedScore } from './published.js';

/** The report as Markdown tables: scores by task, then geometric means. */
export function markdownReport(report: EvaluationReport, context: { data: string; date: string }): string {
  const references = REFERENCE_MODELS.filter(([, names]) => report.tasks.some((task) => find(task.published, names)));
  const published = report.tasks.some((task) => task.published.seasonal_naive);
  const head = [
    'task',
    'forecasts',
    'MASE',
    'WQL',
    '/ s.naive',
    '80 %',
    '95 %',
    'per s',
    's.naive here',
    ...(published ? ['s.naive published'] : []),
    ...references.map(([label]) => label),
  ];
  const rows = report.tasks.map((task) => [
    `${task.name}${task.comparable ? '' : ' †'}`,
    String(task.windows),
    task.score.mase.toFixed(3),
    task.score.wql.toFixed(4),
    relative(task),
    percent(task.score.coverage[80]!),
    percent(task.score.coverage[95]!),
    speed(task.windows / task.seconds),
    both(task.seasonalNaive),
    ...(published ? [both(task.published.seasonal_naive)] : []),
    ...references.map(([, names]) => both(find(task.published, names))),
  ]);
  const lines = [
    `# Evaluation of ${report.model}`,
    '',
    `${context.date}; data ${context.data}. MASE and WQL (mean over nine quantile levels); cells with a slash are MASE / WQL. ` +
      `Mean coverage of the 80 % interval ${percent(report.coverage[80]!)}, of the 95 % interval ${percent(report.coverage[95]!)}; ` +
      `${speed(report.forecastsPerSecond)} forecasts a second.`,
    '',
    ...table(head, rows),
  ];
  if (report.tasks.some((task) => !task.comparable)) {
    lines.push('', '† Data or protocol differ from the published ones, so the task does not count in the means.');
  }
  for (const suite of report.suites) lines.push('', ...suiteSection(report.model, suite));
  return `${lines.join('\n')}\n`;
}

function suiteSection(model: string, suite: SuiteSummary): string[] {
  const all = Object.entries(suite.published).sort(([, a], [, b]) => a.wql - b.wql);
  const named = REFERENCE_MODELS.flatMap(([label, names]) => {
    const score = find(suite.published, names);
    return score ? [[label, score] as const] : [];
  });
  const rows: (readonly [string, PublishedScore])[] = [
    ...named,
    ['seasonal naive', suite.published.seasonal_naive ?? { mase: 1, wql: 1 }],
  ];
  const better = all.filter(([, score]) => score.wql < suite.wql).length;
  const sorted = [[`**${model}**`, suite] as const, ...rows.sort(([, a], [, b]) => a.wql - b.wql)];
  return [
    `## ${suite.label}: geometric means over ${suite.tasks.length} ${suite.tasks.length === 1 ? 'task' : 'tasks'} of ${suite.suite}, relative to the ${suite.relativeTo}`,
    '',
    ...table(
      ['model', 'MASE', 'WQL'],
      sorted.map(([name, score]) => [name, score.mase.toFixed(3), score.wql.toFixed(3)]),
    ),
    ...(all.length > 0 ? ['', `${better} of ${all.length} published entries with all tasks have a lower WQL.`] : []),
  ];
}

function find(published: Record<string, PublishedScore>, names: readonly string[]): PublishedScore | undefined {
  return names.map((name) => published[name]).find((score) => score !== undefined);
}

function relative({ score, seasonalNaive, published }: TaskResult): string {
  const base = published.seasonal_naive ?? seasonalNaive;
  return `${(score.mase / base.mase).toFixed(3)} / ${(score.wql / base.wql).toFixed(3)}`;
}

function both(score: PublishedScore | undefined): string {
  return score ? `${score.mase.toFixed(3)} / ${score.wql.toFixed(4)}` : '';
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function speed(perSecond: number): string {
  return perSecond >= 100 ? Math.round(perSecond).toLocaleString('en') : perSecond.toPrecision(3);
}

/** A Markdown table padded so that it also reads well in a terminal; the first column is left-aligned. */
export function table(head: string[], rows: (readonly string[])[]): string[] {
  const widths = head.map((cell, c) => Math.max(3, cell.length, ...rows.map((row) => row[c]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, c) => (c === 0 ? `:${'-'.repeat(width + 1)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)];
}
