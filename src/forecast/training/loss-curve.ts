/** Reads the log of a run, and draws a picture of its losses. */
import { existsSync, readFileSync } from 'node:fs';
import type * as engine from '../../engine/training/run-folder.js';
import { escapeXml } from '../chart/svg.js';
import { valueTicks } from '../chart/ticks.js';
import type { Progress } from './trainer.js';

export type LogLine = engine.LogLine<Progress>;

/** All whole lines of a log up to a step; a line that a crash cut off is left out. */
export function readLog(file: string): LogLine[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((text) => {
      try {
        return text === '' ? [] : [JSON.parse(text) as LogLine];
      } catch {
        return [];
      }
    });
}

const WIDTH = 960;
const HEIGHT = 420;
const LEFT = 56;
const RIGHT = 130;
const TOP = 52;
const BOTTOM = 44;
const COLOURS = ['#0b74a8', '#c8641a', '#3b8c5a', '#8457a8', '#a03c50', '#5b6470'];

/**
 * Training losses (thin, as reported) and validation losses (thick, with dots) over the steps, as a standalone SVG.
 * The scale leaves out the first twentieth of the run, where losses are several times their later values.
 */
export function lossCurve(log: LogLine[], title: string): string {
  const lines = new Map<string, { validation: boolean; points: [number, number][] }>();
  for (const line of log) {
    if (line.kind === 'start') continue;
    const validation = line.kind === 'validation';
    for (const [part, loss] of Object.entries(line.loss)) {
      const name = validation ? `${part}, held out` : part;
      const entry = lines.get(name) ?? { validation, points: [] };
      // JSON has no NaN: what was not finite came back as null.
      if (typeof loss === 'number' && Number.isFinite(loss)) entry.points.push([line.step, loss]);
      lines.set(name, entry);
    }
  }
  const shown = [...lines].filter(([, { points }]) => points.length > 0);
  const all = shown.flatMap(([, { points }]) => points);
  const last = Math.max(1, ...all.map(([step]) => step));
  const scaled = all.filter(([step]) => step >= last / 20).map(([, loss]) => loss);
  const values = scaled.length > 0 ? scaled : [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.06 * (high - low || 1);
  const x = (step: number) => LEFT + (step / last) * (WIDTH - LEFT - RIGHT);
  const y = (loss: number) =>
    Math.max(TOP, HEIGHT - BOTTOM - ((loss - low + margin) / (high - low + 2 * margin)) * (HEIGHT - TOP - BOTTOM));
  const parts = [...new Set(shown.map(([name]) => name.replace(', held out', '')))];
  const out: string[] = [];
  for (const { value, label } of valueTicks(low - margin, high + margin, 6)) {
    out.push(`<path class="grid" d="M${LEFT} ${y(value).toFixed(1)}H${WIDTH - RIGHT}"/>`);
    out.push(`<text x="${LEFT - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${label}</text>`);
  }
  for (const { value, label } of valueTicks(0, last, 8)) {
    out.push(`<text x="${x(value).toFixed(1)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${label}</text>`);
  }
  out.push(`<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">optimiser steps</text>`);
  let below = 0;
  const labels = shown
    .map(([name, { points }]) => ({ name, at: y(points.at(-1)![1]) }))
    .sort((a, b) => a.at - b.at)
    .map(({ name, at }) => {
      // Labels stand beside the ends of their lines, pushed apart where they would overlap.
      below = Math.max(at + 4, below + 15);
      return { name, at: below };
    });
  for (const [name, { validation, points }] of shown) {
    const colour = COLOURS[parts.indexOf(name.replace(', held out', '')) % COLOURS.length];
    const path = points.map(([step, loss]) => `${x(step).toFixed(1)} ${y(loss).toFixed(1)}`).join('L');
    const style = validation ? 'stroke-width="2.25"' : 'stroke-width="1" opacity="0.55"';
    out.push(`<path fill="none" stroke="${colour}" stroke-linejoin="round" ${style} d="M${path}"/>`);
    if (validation && points.length <= 60) {
      for (const [step, loss] of points) {
        out.push(`<circle cx="${x(step).toFixed(1)}" cy="${y(loss).toFixed(1)}" r="2.5" fill="${colour}"/>`);
      }
    }
    const label = labels.find((l) => l.name === name)!;
    out.push(
      `<text x="${WIDTH - RIGHT + 8}" y="${label.at.toFixed(1)}" style="fill:${colour}">${escapeXml(name)} ${points.at(-1)![1].toFixed(4)}</text>`,
    );
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(title)}">
<style>text{font:11px system-ui,sans-serif;fill:#5b6470}.title{font-size:16px;font-weight:600;fill:#1c2229}.grid{stroke:#e6e9ed}</style>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
<text class="title" x="${LEFT}" y="30">${escapeXml(title)}</text>
${out.join('\n')}
</svg>
`;
}
