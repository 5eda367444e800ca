import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { AdderError, toAdderError } from '../../platform/errors.js';
import { decodeStream } from '../decode/index.js';
import { NOISE_PACKS, SPEECH_PACKS } from './catalogue.js';
import type { PackJob, PackReply } from './pack-worker.js';

/** One clip of a pack; positions in samples at 16 kHz of the decoded pack. */
export interface Clip {
  offset: number;
  length: number;
  /** `?` where the speaker is not known. */
  speaker: string;
  /** Speech segments [from, to] in milliseconds from the clip's start; empty for noise. */
  segments: readonly (readonly [number, number])[];
  /** What is said, where the pack tells. */
  text?: string;
  name: string;
}

/** A decoded pack. The samples lie in shared memory, so worker threads read them without a copy; all is plain data. */
export interface Pack {
  name: string;
  /** 16-bit, mono, 16 kHz, over a SharedArrayBuffer. */
  samples: Int16Array;
  clips: readonly Clip[];
}

/** Clips of a pack's `.jsonl`, each line checked. */
export function parseClips(text: string, file: string): Clip[] {
  const out: Clip[] = [];
  text.split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    const bad = (message: string, cause?: unknown) =>
      new AdderError({ code: 'BAD_PACK', message, where: { file, line: i + 1 }, cause });
    let row: Record<string, unknown>;
    try {
      row = JSON.parse(line) as Record<string, unknown>;
    } catch (cause) {
      throw bad('this line is not JSON', cause);
    }
    const { off, n, seg = [] } = row;
    if (!Number.isInteger(off) || !Number.isInteger(n) || (off as number) < 0 || (n as number) <= 0) {
      throw bad('a clip needs whole numbers off ≥ 0 and n > 0');
    }
    const segments = seg as [number, number][];
    if (!Array.isArray(segments) || segments.some((s) => !Array.isArray(s) || !(s[0] >= 0 && s[1] > s[0]))) {
      throw bad('seg must be a list of [from, to] in milliseconds');
    }
    out.push({
      offset: off as number,
      length: n as number,
      speaker: typeof row.spk === 'string' ? row.spk : '?',
      segments,
      ...(typeof row.text === 'string' ? { text: row.text } : {}),
      name: String(row.utt ?? i),
    });
  });
  return out;
}

/** Decode `FOLDER/NAME.opus` with its clips. About 600 times real time on one core. */
export async function loadPack(folder: string, name: string): Promise<Pack> {
  const file = join(folder, `${name}.jsonl`);
  try {
    const clips = parseClips(readFileSync(file, 'utf8'), file);
    const end = clips.reduce((m, c) => Math.max(m, c.offset + c.length), 0);
    const samples = new Int16Array(new SharedArrayBuffer(2 * end));
    let at = 0;
    const source = createReadStream(join(folder, `${name}.opus`));
    for await (const [piece] of decodeStream(source, { limits: { maxSeconds: 24 * 3600 } })) {
      const count = Math.min(piece.length, end - at);
      for (let i = 0; i < count; i++) {
        const value = Math.round(piece[i] * 32767);
        samples[at + i] = value > 32767 ? 32767 : value < -32768 ? -32768 : value;
      }
      at += count;
    }
    if (at < end) {
      throw new AdderError({ code: 'BAD_PACK', message: `the audio ends ${end - at} samples before its last clip` });
    }
    return { name, samples, clips };
  } catch (error) {
    throw toAdderError(error, { file: join(folder, name) });
  }
}

export interface Library {
  speech: Pack[];
  noise: Pack[];
}

export interface LibraryOptions {
  /** Folder with `train`, `dev` and `noise`. */
  root: string;
  split: 'train' | 'dev';
  /** Only packs whose licence lets trained weights be shipped. Default true. */
  permissiveOnly?: boolean;
  /** Restrict to these names. */
  packs?: readonly string[];
  /** Decode every pack in a thread of its own. Default false. */
  threads?: boolean;
}

/** `loadPack` in a thread of its own. */
function loadPackAside(folder: string, name: string): Promise<Pack> {
  return new Promise((resolve, reject) => {
    const workerData: PackJob = { folder, name };
    const worker = new Worker(new URL('./pack-worker.js', import.meta.url), { workerData });
    worker.once('message', (reply: PackReply) => {
      if ('pack' in reply) resolve(reply.pack);
      else reject(new AdderError(reply.error));
    });
    worker.once('error', reject);
  });
}

/** All packs of a split that are there, with the noise packs. Throws NO_DATA when there is none. */
export async function loadLibrary(options: LibraryOptions): Promise<Library> {
  const { root, split, permissiveOnly = true, packs, threads = false } = options;
  const load = threads ? loadPackAside : loadPack;
  const wanted = <T extends { name: string; permissive: boolean }>(all: readonly T[], folder: string) =>
    all.filter(
      (p) =>
        (!permissiveOnly || p.permissive) &&
        (!packs || packs.includes(p.name)) &&
        existsSync(join(folder, `${p.name}.opus`)),
    );
  const folder = join(root, split);
  const noiseFolder = join(root, 'noise');
  const all = async (infos: readonly { name: string }[], from: string): Promise<Pack[]> => {
    if (threads) return Promise.all(infos.map(({ name }) => load(from, name)));
    const out: Pack[] = [];
    for (const { name } of infos) out.push(await load(from, name));
    return out;
  };
  const speech = await all(wanted(SPEECH_PACKS, folder), folder);
  const noise = await all(wanted(NOISE_PACKS, noiseFolder), noiseFolder);
  if (speech.length === 0) {
    throw new AdderError({ code: 'NO_DATA', message: 'no speech pack in this folder', where: { file: folder } });
  }
  return { speech, noise };
}

/** Samples of a clip as floats, full scale ±1. */
export function clipSamples(pack: Pack, clip: Clip): Float32Array {
  const out = new Float32Array(clip.length);
  for (let i = 0; i < clip.length; i++) out[i] = pack.samples[clip.offset + i] / 32768;
  return out;
}
