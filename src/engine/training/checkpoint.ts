/**
 * Checkpoints of training: a folder of safetensors shards of at most 15 MiB and a `checkpoint.json` that names them,
 * their digests and whatever the run needs to continue exactly.
 *
 * Written beside its place and renamed when complete, so a folder under its final name is whole. Arrays are cut into
 * pieces `name/0`, `name/1`, … that fill the shards in order; float64 stays float64 (the reference backend's numbers).
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { NumericArray } from '../backend.js';
import { EngineError } from '../errors.js';
import { readSafetensorsFile } from '../weights/file.js';
import { type SafetensorsTensor, writeSafetensors } from '../weights/safetensors.js';

export const SHARD_BYTES = 15 * 1024 * 1024;
/** Room for a shard's header. */
const HEADER_BYTES = 16 * 1024;
const FORMAT = 'adder-checkpoint-1';
const MANIFEST = 'checkpoint.json';

interface Manifest {
  format: typeof FORMAT;
  files: { name: string; sha256: string }[];
  arrays: { name: string; length: number; dtype: 'F32' | 'F64'; pieces: number }[];
  run: unknown;
}

export interface CheckpointContent<Run> {
  arrays: Record<string, NumericArray>;
  /** JSON: step, seed, configuration, counters. */
  run: Run;
}

/** Writes the folder; an older one of the same name is replaced. Returns the shard names. */
export function writeCheckpoint<Run>(
  folder: string,
  { arrays, run }: CheckpointContent<Run>,
  shardBytes = SHARD_BYTES,
): string[] {
  const beside = join(dirname(folder), `.${basename(folder)}.${process.pid}.tmp`);
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside, { recursive: true });
  const manifest: Manifest = { format: FORMAT, files: [], arrays: [], run };
  const capacity = shardBytes - Math.min(HEADER_BYTES, shardBytes / 4);
  let shard: Record<string, SafetensorsTensor> = {};
  let used = 0;
  const flush = () => {
    if (used === 0) return;
    const name = `shard-${manifest.files.length}.safetensors`;
    const bytes = writeSafetensors(shard);
    writeFileSync(join(beside, name), bytes);
    manifest.files.push({ name, sha256: digest(bytes) });
    shard = {};
    used = 0;
  };
  for (const [name, values] of Object.entries(arrays)) {
    const data = values instanceof Float32Array || values instanceof Float64Array ? values : Float32Array.from(values);
    const dtype = data instanceof Float64Array ? 'F64' : 'F32';
    let pieces = 0;
    for (let from = 0; from < data.length; pieces++) {
      let room = Math.floor((capacity - used) / data.BYTES_PER_ELEMENT);
      if (room < 1) {
        flush();
        room = Math.floor(capacity / data.BYTES_PER_ELEMENT);
      }
      const piece = data.subarray(from, from + room);
      shard[`${name}/${pieces}`] = { dtype, shape: [piece.length], data: piece };
      used += piece.byteLength;
      from += piece.length;
    }
    manifest.arrays.push({ name, length: data.length, dtype, pieces });
  }
  flush();
  writeFileSync(join(beside, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  rmSync(folder, { recursive: true, force: true });
  renameSync(beside, folder);
  return manifest.files.map((file) => file.name);
}

/** @throws EngineError `CHECKPOINT_MISSING`, `CHECKPOINT_DAMAGED` (naming the file), or safetensors' own errors */
export function readCheckpoint<Run>(folder: string): CheckpointContent<Run> {
  const manifest = readManifest(folder);
  const damaged = (file: string, message: string, field?: string) =>
    new EngineError({
      code: 'CHECKPOINT_DAMAGED',
      message,
      where: { file: join(folder, file), field },
      fix: 'resume from an earlier checkpoint',
    });
  const pieces = new Map<string, SafetensorsTensor>();
  for (const { name, sha256 } of manifest.files) {
    if (!/^[\w.-]+\.safetensors$/.test(name)) throw damaged(MANIFEST, `${JSON.stringify(name)} is no name of a shard`);
    const file = join(folder, name);
    if (!existsSync(file)) throw damaged(name, 'a shard of this checkpoint is missing');
    if (digest(readFileSync(file)) !== sha256) throw damaged(name, 'the shard is not what was written');
    const tensors = readSafetensorsFile(file);
    for (const key of tensors.entries.keys()) pieces.set(key, tensors.read(key));
  }
  const arrays: Record<string, NumericArray> = {};
  for (const { name, length, dtype, pieces: count } of manifest.arrays) {
    const out = dtype === 'F64' ? new Float64Array(length) : new Float32Array(length);
    let at = 0;
    for (let k = 0; k < count; k++) {
      const piece = pieces.get(`${name}/${k}`);
      if (!piece || piece.dtype !== dtype || at + piece.data.length > length) {
        throw damaged(MANIFEST, `piece ${k} of ${name} is not in the shards`, name);
      }
      out.set(piece.data as Float32Array | Float64Array, at);
      at += piece.data.length;
    }
    if (at !== length) throw damaged(MANIFEST, `${name} has ${at} of ${length} numbers`, name);
    arrays[name] = out;
  }
  return { arrays, run: manifest.run as Run };
}

function readManifest(folder: string): Manifest {
  const file = join(folder, MANIFEST);
  if (!existsSync(file)) {
    throw new EngineError({
      code: 'CHECKPOINT_MISSING',
      message: 'no checkpoint in this folder',
      where: { file },
      fix: 'name the folder that holds checkpoint.json',
    });
  }
  let manifest: Partial<Manifest> | undefined;
  try {
    manifest = JSON.parse(readFileSync(file, 'utf8')) as Partial<Manifest>;
  } catch {
    // Reported below, as everything else that is no manifest.
  }
  if (manifest?.format !== FORMAT || !Array.isArray(manifest.files) || !Array.isArray(manifest.arrays)) {
    throw new EngineError({
      code: 'CHECKPOINT_DAMAGED',
      message: `this is no ${FORMAT} manifest`,
      where: { file },
      fix: 'resume from an earlier checkpoint',
    });
  }
  return manifest as Manifest;
}

/** The newest complete `step-N` folder in `folder`, or `folder` itself if it is a checkpoint. */
export function latestCheckpoint(folder: string): string | undefined {
  if (existsSync(join(folder, MANIFEST))) return folder;
  if (!existsSync(folder)) return undefined;
  const steps = readdirSync(folder)
    .flatMap((name) => (/^step-\d+$/.test(name) && existsSync(join(folder, name, MANIFEST)) ? [name] : []))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)));
  const last = steps.at(-1);
  return last && join(folder, last);
}

/** Removes all but the newest `keep` checkpoints of a run. */
export function pruneCheckpoints(folder: string, keep: number): void {
  const steps = readdirSync(folder)
    .filter((name) => /^step-\d+$/.test(name))
    .sort((a, b) => Number(b.slice(5)) - Number(a.slice(5)));
  for (const name of steps.slice(keep)) rmSync(join(folder, name), { recursive: true });
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
