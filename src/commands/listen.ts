import { createWriteStream } from 'node:fs';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Audio, decodeFile, SAMPLE_RATE } from '../audio/decode/index.js';
import { needTwoChannels } from '../audio/hearing/two-channels.js';
import { loadSpeechModel, type SpeechModel } from '../audio/model/index.js';
import { type HeardChannels, type HearOptions, hearChannels } from '../audio/outlook/hear.js';
import { SHOWN_TRACKS, segmentsOf } from '../audio/outlook/outlook.js';
import { picture } from '../audio/outlook/picture.js';
import { terminalOutlook } from '../audio/outlook/terminal.js';
import { outlookJson } from '../audio/outlook/write.js';
import { EndOfTurn, type EndOfTurnOptions, loadTurnModel } from '../audio/turns/index.js';
import { terminalAbilities } from '../forecast/chart/terminal.js';
import { AdderError, oneLine, toAdderError } from '../platform/errors.js';
import { type Command, checkOutput, parseCommandLine, printNotice } from './command.js';

const help = `usage: adder listen FILE [options]

Hears a recording (WAV, FLAC, Ogg Opus, MP3; several channels are mixed) and prints where somebody speaks and what was
to come, line by line. Value i of every track is what a live listener has when hop i of 10 ms ends.

  --out FILE.json   write all tracks and events:
                    {sampleRate, hopMs, tracks: {speech, speech_50 … speech_1000, end_100, end_200, end_500}, events}
  --svg FILE.svg    draw waveform, probabilities and events
  --turns           the two channels are the sides of a conversation: hear each alone, say who talks in the next two
                    seconds, and when a turn is over
  --turn-threshold P   probability of a shift at which a turn is over (0.5); higher waits longer, interrupts less
  --turn-delay MS      silence before a turn is over (200)
  --turn-timeout MS    silence after which it is over in any case (1500)
  --model NAME      a speech model of models/, or a folder (speech-outlook)
  --backend B       webgpu, wasm or reference

Times of events are samples at 16 kHz. Works without a running service.
`;

const OPTIONS = {
  out: { type: 'string' },
  svg: { type: 'string' },
  turns: { type: 'boolean' },
  'turn-threshold': { type: 'string' },
  'turn-delay': { type: 'string' },
  'turn-timeout': { type: 'string' },
  model: { type: 'string' },
  backend: { type: 'string' },
} as const;

type Values = ReturnType<typeof parseCommandLine<typeof OPTIONS>>['values'];

/** Recordings from so many seconds on tell how far they are. */
const LONG = 120;

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseCommandLine('listen', args, OPTIONS, 1);
  const { out, svg, model: name, backend } = values;
  const file = positionals[0];
  if (file === undefined) {
    throw new AdderError({
      code: 'BAD_OPTION',
      message: 'the recording is missing',
      fix: 'adder listen FILE.wav --out OUT.json',
    });
  }
  const turns = turnsOf(values);
  checkEnding(out, '--out', '.json');
  checkEnding(svg, '--svg', '.svg');
  await checkOutput(out);
  await checkOutput(svg);

  const audio = await decodeFile(file, { layout: turns ? 'separate' : 'mix' });
  for (const warning of audio.warnings) printNotice(warning);
  if (turns) needTwoChannels(audio.channels.length, '--turns', 'name a stereo recording');
  const model = await loadSpeechModel(name, backend);
  try {
    const heard = await hearAll(model, audio, file, turns);
    if (out !== undefined) await save(out, outlookJson(heard, SHOWN_TRACKS));
    if (svg !== undefined) await save(svg, [picture(audio.channels, heard, basename(file))]);
    return 0;
  } finally {
    await model.close();
  }
}

/** Hears the recording and prints a view of it. */
async function hearAll(
  model: SpeechModel,
  { channels }: Audio,
  file: string,
  turns: Partial<EndOfTurnOptions> | undefined,
): Promise<HeardChannels> {
  const seconds = channels[0].length / SAMPLE_RATE;
  const begin = performance.now();
  const options: HearOptions = seconds >= LONG ? { onProgress: tell(seconds) } : {};
  const turnModel = turns && (await loadTurnModel(undefined, model.backend));
  let heard: HeardChannels;
  try {
    heard = await hearChannels(model, channels, {
      ...options,
      ...(turnModel ? { turns: { model: turnModel, options: turns } } : {}),
    });
  } finally {
    await turnModel?.close();
  }
  const took = Math.max(1e-3, (performance.now() - begin) / 1000);
  const segments = heard.sides.flatMap(({ events }) => segmentsOf(events));
  const spoken = segments.reduce((sum, { from, to }) => sum + to - from, 0) / SAMPLE_RATE;
  const { unicode } = terminalAbilities(process.stdout);
  const said = [
    `${basename(file)}: ${seconds.toFixed(2)} s`,
    `${segments.length} ${segments.length === 1 ? 'stretch' : 'stretches'} of speech, ${spoken.toFixed(2)} s`,
    `${[model.name, ...(heard.turns ? [heard.turns.model] : [])].join(' and ')}, ${(seconds / took).toFixed(0)} x real time`,
  ];
  process.stdout.write(`${oneLine(said.join(unicode ? ' · ' : ' - '))}\n\n`);
  process.stdout.write(terminalOutlook(channels, heard, { unicode }));
  return heard;
}

/** When a turn counts as over; undefined without `--turns`. @throws AdderError `BAD_OPTION` */
function turnsOf(values: Values): Partial<EndOfTurnOptions> | undefined {
  const options: Partial<EndOfTurnOptions> = {};
  for (const [option, field] of [
    ['turn-threshold', 'threshold'],
    ['turn-delay', 'delayMs'],
    ['turn-timeout', 'timeoutMs'],
  ] as const) {
    const text = values[option];
    if (text === undefined) continue;
    if (!values.turns) {
      throw new AdderError({ code: 'BAD_OPTION', message: `--${option} is for --turns`, fix: 'add --turns' });
    }
    if (!/^\d+(\.\d+)?$/.test(text)) {
      throw new AdderError({ code: 'BAD_OPTION', message: `--${option} ${text} is no number`, fix: 'give a number' });
    }
    options[field] = Number(text);
  }
  new EndOfTurn(options);
  return values.turns ? options : undefined;
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
