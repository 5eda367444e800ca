/** Live speech as a service has it: sessions over WebSockets to an API process and its listening process. */
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { cpuSeconds, residentBytes } from '../live/setup.js';
import { quantile, type Row } from '../measure.js';
import { type RunningService, startService } from '../service/processes.js';
import { type LoadResult, liveLoad } from './live-load.js';
import { readRecordings } from './protocol.js';

const FRAME_MS = 20;
const SECONDS = 40;
const WARM_UP = 8;
const MEMORY_EVERY_MS = 1000;

interface Load {
  sessions: number;
  channels: 1 | 2;
  bounds: { least?: number; aim?: number };
}

const LOADS: readonly Load[] = [
  { sessions: 60, channels: 1, bounds: { least: 60 } },
  { sessions: 150, channels: 1, bounds: { aim: 60 } },
  { sessions: 30, channels: 2, bounds: { least: 60 } },
];

/** @param root of the recordings: meetings are sent */
export async function liveRows(root: string): Promise<Row[]> {
  const speech = await meetings(root);
  const rows: Row[] = [];
  for (const load of LOADS) {
    const backend = process.env.ADDER_BACKEND ?? 'wasm';
    const service = await startService({ queue: 'redis', model: 'naive', backend, api: true });
    try {
      rows.push(...(await measured(service, load.channels === 2 ? paired(speech) : speech, load)));
    } finally {
      await service.stop();
    }
  }
  return rows;
}

async function measured({ address, api }: RunningService, speech: Int16Array, load: Load): Promise<Row[]> {
  const { sessions, channels, bounds } = load;
  const watch = new Watch(api!.pid!);
  const result = await liveLoad(address!, speech, {
    sessions,
    frameMs: FRAME_MS,
    channels,
    seconds: SECONDS,
    warmUp: WARM_UP,
    onBegin: () => watch.begin(),
    onEnd: () => watch.end(),
  });
  const name = channels === 2 ? `${sessions} live conversations of two channels` : `${sessions} live sessions`;
  return [...latencyRows(name, result, bounds), ...watch.rows(name)];
}

/** Two places of the recordings beside each other, as two channels. */
function paired(speech: Int16Array): Int16Array {
  const half = speech.length >> 1;
  return Int16Array.from({ length: 2 * half }, (_, i) => speech[(i >> 1) + (i % 2) * half]);
}

function latencyRows(name: string, result: LoadResult, bounds: { least?: number; aim?: number }): Row[] {
  const at = (values: Float64Array, q: number) => quantile([...values], q);
  const sent = `audio sent in frames of ${FRAME_MS} ms over ${SECONDS} s; the sender was late by at most ${at(result.late, 0.99).toFixed(1)} ms for 99 %`;
  const latency = (what: string, values: Float64Array): Row[] => [
    { name: `${name}: frame sent → ${what}, median`, value: at(values, 0.5), unit: 'ms', note: `${values.length}` },
    { name: `${name}: frame sent → ${what}, 99th percentile`, value: at(values, 0.99), unit: 'ms', ...bounds },
  ];
  return [
    {
      name: `${name}: rows that came within a second`,
      value: 100 * result.inTime,
      unit: '%',
      higher: true,
      least: 99.9,
      note: sent,
    },
    ...latency('its row', result.rows),
    ...latency('an event', result.events),
  ];
}

/** What the processes of the service use while the clients are measured. */
class Watch {
  private readonly processes: { what: string; pid: number; cpu: number; memory: number[] }[] = [];
  private timer: NodeJS.Timeout | undefined;
  /** Processor seconds of the whole machine. */
  private machine = 0;
  private since = 0;
  private seconds = 0;

  constructor(private readonly api: number) {}

  begin(): void {
    const hearing = childrenOf(this.api).find(({ command }) => command.includes('hearing-child'))!.pid;
    for (const [what, pid] of [
      ['API process', this.api],
      ['listening process', hearing],
      ['clients', process.pid],
    ] as const) {
      this.processes.push({ what, pid, cpu: -cpuSeconds(pid), memory: [] });
    }
    this.machine = -machineSeconds();
    this.since = performance.now();
    const look = () => {
      for (const { pid, memory } of this.processes) memory.push(residentBytes(pid) / 2 ** 20);
    };
    this.timer = setInterval(look, MEMORY_EVERY_MS);
  }

  end(): void {
    clearInterval(this.timer);
    this.seconds = (performance.now() - this.since) / 1000;
    for (const watched of this.processes) watched.cpu += cpuSeconds(watched.pid);
    this.machine += machineSeconds();
  }

  rows(name: string): Row[] {
    const used = this.processes.map(
      ({ what, cpu }): Row => ({
        name: `${name}: processors used by the ${what}`,
        value: cpu / this.seconds,
        unit: 'cores',
      }),
    );
    const ours = this.processes.reduce((sum, { cpu }) => sum + cpu, 0);
    used.push({
      name: `${name}: processors used by the rest of the machine`,
      value: (this.machine - ours) / this.seconds,
      unit: 'cores',
      note: `of ${availableParallelism()}: the store, the worker, and whatever else ran`,
    });
    const mean = (part: number[]) => part.reduce((sum, v) => sum + v, 0) / part.length;
    const grown = this.processes.slice(0, 2).map(({ what, memory }): Row => {
      const third = Math.max(1, Math.floor(memory.length / 3));
      return {
        name: `${name}: memory of the ${what}, from the first to the last third`,
        value: mean(memory.slice(-third)) - mean(memory.slice(0, third)),
        unit: 'MiB',
        note: `${Math.round(memory[memory.length - 1])} MiB resident at the end`,
      };
    });
    return [...used, ...grown];
  }
}

/** Processor time that everything has used since the machine started, seconds (Linux, 100 ticks a second). */
function machineSeconds(): number {
  const [user, nice, system, , , interrupt, soft] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]
    .replace(/^cpu +/, '')
    .split(' ')
    .map(Number);
  return (user + nice + system + interrupt + soft) / 100;
}

/** Children of a process (Linux). */
function childrenOf(parent: number): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
        if (Number(fields.split(' ')[1]) !== parent) return [];
        return [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

/** All meetings in a row, as 16-bit samples. */
async function meetings(root: string): Promise<Int16Array> {
  const recordings = await readRecordings(join(root, 'dev', 'ami_excerpts'));
  return Int16Array.from(recordings.flatMap(({ samples }) => Array.from(samples, (x) => Math.round(x * 32_767))));
}
