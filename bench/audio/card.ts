/**
 * Writes the model card of a listening model: what it is, what it learnt from, what `bench audio` measured, its limits.
 *
 *   node dist/bench/audio/card.js MODEL [--results PREFIX]
 *
 * PREFIX is what `bench audio --out` was given; parts that were not measured are left out.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NOISE_PACKS, SPEECH_PACKS } from '../../src/audio/data/catalogue.js';
import { parseCommandLine } from '../../src/commands/command.js';
import { AdderError } from '../../src/platform/errors.js';
import type { Report } from '../measure.js';
import { type Decisions, decisionTable } from './decisions.js';
import { detectorTable, type Result } from './detectors.js';
import { type SpectralFloor, spectraTable } from './spectra.js';
import type { TurnModelResult } from './turns.js';

interface ModelFile {
  name: string;
  config: Record<string, unknown> & { architecture: string };
  calibration?: unknown;
  training: {
    steps: number;
    seconds: number;
    parameters: number;
    heldOut: Record<string, number>;
    device: string;
    date: string;
    data: { packs?: string[]; noise?: string[]; calls?: number; streams?: number };
    /** The event head was fitted anew, see refit.ts. */
    refit?: { streams: number; speakers: string };
    configuration: { batch: { sequences: number; frames: number }; optimiser: Record<string, number> };
  };
}

const INTRODUCTION: Record<string, string> = {
  'mamba2-speech':
    'Hears one channel of 16 kHz audio and says, every 10 ms, whether somebody speaks now and up to a second ahead, when speech will end\n' +
    'or start within two seconds, and what the spectrum will be half a second ahead. Causal; a state of fixed size.',
  'mamba2-turns':
    'Hears two activity streams at 50 Hz and says who talks in the next two seconds, whether the turn passes in a silence, and whether a\n' +
    'back-channel is coming. Causal; a state of fixed size.',
};

const LIMITS: Record<string, string[]> = {
  'mamba2-speech': [
    'Three hours of read, acted and short speech of few people, in studios and at headsets; no far-field recordings and no telephone conversation.',
    'Labels of the training clips are made by a machine (Silero v6 and energy).',
    'Half a second ahead, the label of read speech is a coin flip for everyone.',
    'Singing, crowds and televisions were not in the training data.',
    'Probabilities are calibrated on composed streams; in conversation, where turns are longer, ends and starts are foretold too often.',
  ],
  'mamba2-turns': [
    'American English telephone calls of the 1990s; two people.',
    'The timings are of hand-reviewed word alignments; activity of a real detector is rougher (a third of the training calls were disturbed).',
    'Training and validation calls share speakers.',
  ],
};

function table(rows: readonly (readonly [string, unknown])[]): string {
  return ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join('\n');
}

const three = (v: number) => v.toFixed(3).replace(/^0\./, '.');

function speechMeasures(read: <T>(part: string) => T | undefined): string[] {
  const out: string[] = [];
  const add = (title: string, text: string | undefined) => {
    if (text) out.push(`### ${title}\n\n${text}`);
  };
  const detectors = (part: string) => {
    const results = read<Result[]>(part);
    return results && detectorTable(results);
  };
  add('Nine hand-labelled meeting excerpts (4.5 min)', detectors('detectors'));
  add('The same under noise of kinds not heard in training, 5 dB', detectors('noise'));
  add('Thirty composed streams of speakers and noises held out', detectors('composed'));
  const spectra = read<SpectralFloor[]>('spectra');
  add('Log-mel forecasts on the meeting excerpts', spectra && spectraTable(spectra));
  const errors = read<Record<string, Record<string, number>>>('calibration');
  add(
    'Expected calibration error',
    errors &&
      [
        `| | ${Object.keys(errors).join(' | ')} |`,
        `|---|${'---|'.repeat(Object.keys(errors).length)}`,
        ...Object.keys(Object.values(errors)[0]).map(
          (track) =>
            `| ${track} | ${Object.values(errors)
              .map((e) => three(e[track]))
              .join(' | ')} |`,
        ),
      ].join('\n'),
  );
  const decisions = read<Decisions[]>('decisions');
  add('Events on composed streams held out', decisions && decisionTable(decisions));
  const cost = read<Report>('cost');
  add(
    'Cost',
    cost &&
      `${cost.machine}\n\n${table(cost.rows.map((r) => [r.name, `${r.value.toPrecision(3)} ${r.unit}`] as const))}`,
  );
  return out;
}

function turnMeasures(read: <T>(part: string) => T | undefined): string[] {
  const result = read<{ model: TurnModelResult }>('turns');
  if (!result) return [];
  const { logLoss, auc, calibration, shiftHoldAuc, backchannelAuc, policies, microsPerFrame } = result.model;
  const bins = ['0–200', '200–600', '600–1200', '1200–2000'];
  return [
    `### 578 validation calls, whole, history only\n\n${[
      '| bin, ms | log-loss | AUC | calibration error |',
      '|---|---|---|---|',
      ...bins.map((bin, k) => `| ${bin} | ${[logLoss[k], auc[k], calibration.bins[k]].map(three).join(' | ')} |`),
    ].join('\n')}`,
    table([
      ['shift or hold, 0.2 s into a silence: AUC', three(shiftHoldAuc)],
      ['its calibration error', three(calibration.shift)],
      ['back-channel within 500 ms: AUC', three(backchannelAuc)],
      ['pauses cut at a mean latency of 300 / 600 ms', `${three(policies.cut300)} / ${three(policies.cut600)}`],
      [
        'mean latency at 5 / 10 % of pauses cut',
        `${policies.latency5.toFixed(2)} / ${policies.latency10.toFixed(2)} s`,
      ],
      ...(microsPerFrame
        ? [['a frame of 20 ms, one CPU thread, scanned', `${microsPerFrame.toFixed(1)} µs`] as const]
        : []),
    ]),
  ];
}

export function listeningCard(file: ModelFile, read: <T>(part: string) => T | undefined): string {
  const { name, config, training } = file;
  const { data, configuration, heldOut, refit } = training;
  const { sequences, frames } = configuration.batch;
  const licences = [...SPEECH_PACKS, ...NOISE_PACKS]
    .filter((p) => [...(data.packs ?? []), ...(data.noise ?? [])].includes(p.name))
    .map((p) => [p.name, p.licence] as const);
  const sources = data.packs
    ? `${data.streams ? `${data.streams.toLocaleString('en')} composed streams of 20 to 30 s` : 'Composed streams'} from these packs, with gaps ` +
      `and overlaps of real calls (see docs/speech.md):\n\n${table(licences)}`
    : `${data.calls} two-party calls (Switchboard timings of the MS-State alignments: facts, without audio or words); 48 more held out.`;
  const measures = config.architecture === 'mamba2-turns' ? turnMeasures(read) : speechMeasures(read);
  return `# ${name}

${INTRODUCTION[config.architecture]}

${table([
  ['parameters', training.parameters.toLocaleString('en')],
  ...Object.entries(config),
  ['licence of the weights', 'Apache-2.0; the training data keep their own licences, listed below'],
])}

## Training

${training.date}, ${training.device}: ${training.steps.toLocaleString('en')} steps of ${sequences} × ${frames.toLocaleString('en')} frames in ${training.seconds} s;
AdamW, learning rate ${configuration.optimiser.learningRate}, weight decay ${configuration.optimiser.weightDecay}, averaged weights.

${sources}

On what was held out: ${Object.entries(heldOut)
    .map(([key, value]) => `${key} ${value.toFixed(4)}`)
    .join(', ')}.
${refit ? `\nThen the event head was fitted anew on ${refit.streams} streams of ${refit.speakers}, the encoder held fixed (see refit.ts); the figures\nabove are from before.\n` : ''}
## Measured

${measures.join('\n\n')}

## Limits

${LIMITS[config.architecture].map((line) => `- ${line}`).join('\n')}
`;
}

function main(args: string[]): void {
  const { values, positionals } = parseCommandLine('card', args, { results: { type: 'string' } } as const, 1);
  const [folder] = positionals;
  if (!folder) throw new AdderError({ code: 'BAD_ARGUMENT', message: 'MODEL is missing', fix: 'name its folder' });
  const file = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as ModelFile;
  const read = <T>(part: string): T | undefined => {
    const path = `${values.results}-${part}.json`;
    return values.results && existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
  };
  writeFileSync(join(folder, 'README.md'), listeningCard(file, read));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) main(process.argv.slice(2));
