/** An hour of real recordings, heard the way a `listen` job hears it: bytes of a file to a listening process, an outlook back. */

import { loadLibrary } from '../../src/audio/data/pack.js';
import { HearingProcess } from '../../src/audio/hearing/hearing-process.js';
import { DEFAULT_SPEECH_MODEL } from '../../src/audio/model/index.js';
import { wav } from '../../test/audio/containers.js';
import { sleep } from '../live/setup.js';
import { type Row, summarise } from '../measure.js';
import { startService } from '../service/processes.js';

const SECONDS = 3600;
const RATE = 16_000;
const ROUNDS = 3;

/** @param root of the recordings: the development packs, one after another */
export async function hourRows(root: string): Promise<Row[]> {
  const samples = await anHour(root);
  const body = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  const file = new Uint8Array(wav({ tag: 1, bits: 16, channels: 1, sampleRate: RATE, body }));
  const rows: Row[] = [];
  const backend = process.env.ADDER_BACKEND ?? 'wasm';
  const threads = process.env.ADDER_THREADS;
  for (const count of ['1', undefined]) {
    if (count) process.env.ADDER_THREADS = count;
    else if (threads === undefined) delete process.env.ADDER_THREADS;
    else process.env.ADDER_THREADS = threads;
    const speeds: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const begin = performance.now();
      await heardAlone(file, backend);
      speeds.push((SECONDS * 1000) / (performance.now() - begin));
    }
    rows.push({
      name: `1 h of recordings, as a job hears it: start, decoding, network, events, picture${count ? '; one thread' : ''}`,
      ...summarise(speeds),
      unit: '× real time',
      higher: true,
      ...(count ? {} : { least: 60, aim: 300 }),
    });
  }
  const speeds = await throughTheDoor(file, backend);
  rows.push({
    name: '1 h of recordings, from the upload until the job has its result',
    ...summarise(speeds),
    unit: '× real time',
    higher: true,
    least: 60,
    aim: 300,
  });
  return rows;
}

async function heardAlone(bytes: Uint8Array, backend: string): Promise<void> {
  const model = process.env.ADDER_SPEECH_MODEL ?? DEFAULT_SPEECH_MODEL;
  const listening = new HearingProcess({ backend, model });
  try {
    const ask = {
      kind: 'scan',
      bytes,
      contentType: undefined,
      maxSeconds: 2 * SECONDS,
      options: { events: {} },
    } as const;
    const heard = await listening.ask({ ...ask, picture: 'an hour' });
    if (heard === 'tooLong' || heard.count !== SECONDS * 100) throw new Error('not all of it was heard');
  } finally {
    await listening.close();
  }
}

async function throughTheDoor(body: Uint8Array<ArrayBuffer>, backend: string): Promise<number[]> {
  const { address, stop } = await startService({ queue: 'redis', model: 'naive', backend, api: true });
  try {
    const speeds: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const begin = performance.now();
      const posted = await fetch(`${address}/v1/audio/clips?async=true`, { method: 'POST', body });
      if (posted.status !== 202) throw new Error(await posted.text());
      const { id } = (await posted.json()) as { id: string };
      for (;;) {
        const job = (await (await fetch(`${address}/v1/jobs/${id}`)).json()) as { status: string };
        if (job.status === 'succeeded') break;
        if (job.status === 'failed' || job.status === 'cancelled') throw new Error(JSON.stringify(job));
        await sleep(50);
      }
      speeds.push((SECONDS * 1000) / (performance.now() - begin));
    }
    return speeds;
  } finally {
    await stop();
  }
}

/** 16-bit samples: packs of sentences and of words, as many as make an hour. */
async function anHour(root: string): Promise<Int16Array> {
  const { speech } = await loadLibrary({ root, split: 'dev', permissiveOnly: false });
  const out = new Int16Array(SECONDS * RATE);
  let at = 0;
  for (let i = 0; at < out.length; i = (i + 1) % speech.length) {
    const part = speech[i].samples.subarray(0, out.length - at);
    out.set(part, at);
    at += part.length;
  }
  return out;
}
