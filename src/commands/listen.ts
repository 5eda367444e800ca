import { createWriteStream } from 'node:fs';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { decodeFile, SAMPLE_RATE } from '../audio/decode/index.js';
import { loadSpeechModel, type Scan, scanRecording, trackOf } from '../audio/model/index.js';
import { eventsOf, SHOWN_TRACKS, segmentsOf } from '../audio/outlook/outlook.js';
import { terminalOutlook } from '../audio/outlook/terminal.js';
import { outlookJson } from '../audio/outlook/write.js';
import { plotAudio } from '../audio/plot.js';
import { terminalAbilities } from '../forecast/chart/terminal.js';
import { AdderError, oneLine, toAdderError } from '../platform/errors.js';
import { type Command, checkOutput, parseCommandLine, printNotice } from './command.js';

const help = `usage: adder listen FILE [options]

Hears a recording (WAV, FLAC, Ogg Opus, MP3; several channels are mixed) and prints where somebody speaks and what was
to come, line by line. Value i of every track is what a live listener has when hop i of 10 ms ends.

  --out FILE.json   write all tracks and events:
                    {sampleRate, hopMs, tracks: {speech, speech_50 … speech_1000, end_100, end_200, end_500}, events}
  --svg FILE.svg    draw waveform, probabilities and events
  --model NAME      a speech model of models/, or a folder (speech-outlook)
  --backend B       webgpu, wasm or reference

Times of events are samples at 16 kHz. Works without a running service.
`;

const OPTIONS = {
  out: { type: 'string' },
  svg: { type: 'string' },
  model: { type: 'string' },
  backend: { type: 'string' },
} as const;

/** Recordings from so many seconds on tell how far they are. */
const LONG = 120;

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseCommandLine('listen', args, OPTIONS, 1);
  const { out, svg, model: name, backend } = values as Partial<Record<keyof typeof OPTIONS, string>>;
  const file = positionals[0];
  if (file === undefined) {
    throw new AdderError({
      code: 'BAD_OPTION',
      message: 'the recording is missing',
      fix: 'adder listen FILE.wav --out OUT.json',
    });
  }
  checkEnding(out, '--out', '.json');
  checkEnding(svg, '--svg', '.svg');
  await checkOutput(out);
  await checkOutput(svg);

  const audio = await decodeFile(file);
  for (const warning of audio.warnings) printNotice(warning);
  const samples = audio.channels[0];
  const seconds = samples.length / SAMPLE_RATE;
  const model = await loadSpeechModel(name, backend);
  let scan: Scan;
  try {
    const begin = performance.now();
    scan = await scanRecording(model, samples, { onProgress: seconds >= LONG ? tell(seconds) : undefined });
    const took = Math.max(1e-3, (performance.now() - begin) / 1000);
    const events = eventsOf(scan.tracks);
    const segments = segmentsOf(events);
    const spoken = segments.reduce((sum, { from, to }) => sum + to - from, 0) / SAMPLE_RATE;
    const stretches = `${segments.length} ${segments.length === 1 ? 'stretch' : 'stretches'} of speech`;
    const { unicode } = terminalAbilities(process.stdout);
    process.stdout.write(
      `${oneLine(`${basename(file)}: ${seconds.toFixed(2)} s ${unicode ? '·' : '-'} ${stretches}, ${spoken.toFixed(2)} s ${unicode ? '·' : '-'} ${model.name}, ${(seconds / took).toFixed(0)} x real time`)}\n\n`,
    );
    process.stdout.write(terminalOutlook(samples, scan.tracks, events, { unicode }));
    if (out !== undefined) {
      await save(out, outlookJson(scan.tracks, SHOWN_TRACKS, events));
    }
    if (svg !== undefined) {
      const drawn = (['speech', 'speech_200', 'speech_500', 'end_200'] as const).map((track) => ({
        name: track,
        values: trackOf(scan.tracks, track),
      }));
      await save(svg, [plotAudio(samples, drawn, events, { title: basename(file) })]);
    }
    return 0;
  } finally {
    await model.close();
  }
}

/** Progress on one line of standard error, at most once a second. */
function tell(seconds: number): (rows: number, total: number) => void {
  let next = Date.now() + 1000;
  return (rows, total) => {
    if (Date.now() < next && rows < total) return;
    next = Date.now() + 1000;
    const heard = (seconds * rows) / total;
    process.stderr.write(`heard ${clock(heard)} of ${clock(seconds)} …\n`);
  };
}

const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

async function save(file: string, pieces: Iterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(pieces), createWriteStream(file));
  } catch (cause) {
    throw toAdderError(cause, { file });
  }
  process.stderr.write(`wrote ${file}\n`);
}

function checkEnding(file: string | undefined, option: string, ending: string): void {
  if (file === undefined || file.toLowerCase().endsWith(ending)) return;
  throw new AdderError({
    code: 'BAD_OPTION',
    message: `${option} writes ${ending.slice(1).toUpperCase()}`,
    where: { file },
    fix: `end the name of ${option} in ${ending}`,
  });
}

export default { help, run } satisfies Command;
