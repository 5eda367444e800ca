/** Weight files on disk: the only part of the engine's weights that does I/O. Nothing is read before it is asked for. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../errors.js';
import { type Json, parseJson } from './json.js';
import {
  elementsOf,
  entryOf,
  Safetensors,
  type SafetensorsEntry,
  type SafetensorsTensor,
  type TensorSource,
  writeSafetensors,
} from './safetensors.js';
import { headerLength, LENGTH_BYTES, parseHeader, weightError } from './safetensors-header.js';

/** A safetensors file held open; `read` fetches one tensor's bytes. Close it. */
export class SafetensorsFile implements TensorSource {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  private readonly descriptor: number;
  private readonly dataStart: number;

  constructor(readonly file: string) {
    this.descriptor = open(file);
    try {
      const stat = fstatSync(this.descriptor);
      if (!stat.isFile()) throw weightError('NOT_A_FILE', 'this is not a file', file, undefined, 'name a file');
      const start = this.bytes(0, Math.min(LENGTH_BYTES, stat.size));
      const header = parseHeader(this.bytes(LENGTH_BYTES, headerLength(start, stat.size, file)), stat.size, file);
      this.entries = header.tensors;
      this.metadata = header.metadata;
      this.dataStart = header.dataStart;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(name: string): SafetensorsTensor {
    const { dtype, shape, begin, end } = entryOf(this, name);
    return { dtype, shape, data: elementsOf(this.bytes(this.dataStart + begin, end - begin), dtype) };
  }

  private bytes(from: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count; ) {
      // One read call moves at most 2 GiB.
      const got = readSync(this.descriptor, bytes, done, Math.min(count - done, 2 ** 30), from + done);
      if (got === 0) throw weightError('SAFETENSORS_TRUNCATED', 'the file became shorter while reading', this.file);
      done += got;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/** Opens a file, or throws EngineError FILE_NOT_FOUND, NOT_A_FILE or NO_PERMISSION. */
function open(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (cause) {
    throw fileError(cause, file);
  }
}

function fileError(cause: unknown, file: string): EngineError {
  const known: Record<string, [string, string]> = {
    ENOENT: ['FILE_NOT_FOUND', 'no such file'],
    ENOTDIR: ['FILE_NOT_FOUND', 'no such file'],
    EISDIR: ['NOT_A_FILE', 'this is a folder, not a file'],
    EACCES: ['NO_PERMISSION', 'permission denied'],
  };
  const [code, message] = known[(cause as NodeJS.ErrnoException).code ?? ''] ?? ['FILE', (cause as Error).message];
  return new EngineError({ code, message, where: { file }, fix: 'check the path and its permissions', cause });
}

/** The whole file in memory. */
export function readSafetensorsFile(file: string): Safetensors {
  try {
    return new Safetensors(readFileSync(file), file);
  } catch (cause) {
    throw cause instanceof EngineError ? cause : fileError(cause, file);
  }
}

/** Written beside its place and then renamed, so that a crash never leaves half a file under the name. */
export function writeSafetensorsFile(
  file: string,
  tensors: Parameters<typeof writeSafetensors>[0],
  metadata: Readonly<Record<string, string>> = {},
): void {
  const beside = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(beside, writeSafetensors(tensors, metadata));
    renameSync(beside, file);
  } catch (cause) {
    throw cause instanceof EngineError ? cause : fileError(cause, file);
  }
}

/** A JSON file as Python writes it (NaN and Infinity allowed). */
export function readJsonFile(file: string): Json {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw fileError(cause, file);
  }
  return parseJson(text, { file, nonFinite: true });
}

/** A folder as the Hugging Face Hub has it: its configuration and its tensors, in one file or in shards. Close it. */
export interface Checkpoint {
  readonly config: Json;
  readonly configFile: string;
  readonly tensors: TensorSource;
  close(): void;
}

/**
 * Opens config.json and model.safetensors, or the shards that model.safetensors.index.json names.
 *
 * @throws EngineError: missing or damaged files, an index that names a tensor its shard lacks or leaves one out
 */
export function openCheckpoint(folder: string): Checkpoint {
  const configFile = join(folder, 'config.json');
  const config = readJsonFile(configFile);
  const single = join(folder, 'model.safetensors');
  const index = join(folder, 'model.safetensors.index.json');
  if (existsSync(single) || !existsSync(index)) {
    const tensors = new SafetensorsFile(single);
    return { config, configFile, tensors, close: () => tensors.close() };
  }
  const shards = openShards(folder, index);
  return { config, configFile, tensors: shards, close: () => shards.close() };
}

function openShards(folder: string, index: string): TensorSource & { close(): void } {
  const json = readJsonFile(index) as { weight_map?: Json } | null;
  const map = typeof json === 'object' && json !== null ? json.weight_map : undefined;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw weightError('BAD_INDEX', 'weight_map is not an object', index);
  }
  const shards = new Map<string, SafetensorsFile>();
  const close = () => {
    for (const shard of shards.values()) shard.close();
  };
  try {
    const entries = new Map<string, SafetensorsEntry>();
    for (const [name, shard] of Object.entries(map)) {
      // A shard is a neighbour: an index from elsewhere must not make us open any other file.
      if (typeof shard !== 'string' || !/^[\w.-]+\.safetensors$/.test(shard)) {
        throw weightError('BAD_INDEX', `${JSON.stringify(shard).slice(0, 80)} is no name of a shard`, index, name);
      }
      let file = shards.get(shard);
      if (!file) {
        file = new SafetensorsFile(join(folder, shard));
        shards.set(shard, file);
      }
      entries.set(name, entryOf(file, name));
    }
    for (const [shard, file] of shards) {
      const extra = [...file.entries.keys()].find((name) => map[name] !== shard);
      if (extra !== undefined) {
        throw weightError('BAD_INDEX', `${shard} has a tensor that the index does not place there`, index, extra);
      }
    }
    const read = (name: string) => {
      entryOf({ entries, file: index }, name);
      return (shards.get(map[name] as string) as SafetensorsFile).read(name);
    };
    return { entries, file: index, read, close };
  } catch (error) {
    close();
    throw error;
  }
}
