import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tunedParts } from '../../forecast/model-names.js';
import { isAlive } from '../../platform/embedded/guardian.js';
import { AdderError } from '../../platform/errors.js';
import { decodeColumns, encodeColumns } from '../../store/columns.js';
import type { ObjectStore } from '../../store/objects.js';

/** Folders of models that were deleted meanwhile are removed this often. */
const SWEEP_MS = 60_000;

/** Files of a model as one string of bytes, for the object store. */
export const packModel = (files: Record<string, Uint8Array>): Buffer => encodeColumns(files);

/** Fine-tuned models as folders, which the inference process reads; in a folder of this process that ends with it. */
export class TunedFolders {
  private readonly making = new Map<string, Promise<string>>();
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly objects: ObjectStore,
    private readonly root: string,
  ) {
    this.timer = setInterval(() => void this.sweep().catch(() => {}), SWEEP_MS);
    this.timer.unref();
  }

  static async open(objects: ObjectStore): Promise<TunedFolders> {
    // What a killed worker left behind.
    for (const name of await readdir(tmpdir())) {
      const pid = /^adder-(?:models|tuning)-(\d+)-/.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) {
        await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => {});
      }
    }
    return new TunedFolders(objects, await mkdtemp(join(tmpdir(), `adder-models-${process.pid}-`)));
  }

  /** The folder of a fine-tuned model; other names stay as they are. Throws `UNKNOWN_MODEL` when it was deleted. */
  async locate(model: string): Promise<string> {
    const tuned = tunedParts(model);
    if (!tuned) return model;
    const { owner, weightsId } = tuned;
    await this.check(owner, weightsId);
    const folder = join(this.root, `${weightsId}@${owner}`);
    if (existsSync(folder)) return folder;
    const made = this.making.get(folder) ?? this.make(folder, owner, weightsId);
    this.making.set(folder, made);
    try {
      return await made;
    } finally {
      this.making.delete(folder);
    }
  }

  private async check(owner: string, weightsId: string): Promise<void> {
    try {
      await this.objects.info(owner, weightsId);
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'UNKNOWN_OBJECT') throw cause;
      throw new AdderError({
        code: 'UNKNOWN_MODEL',
        message: 'this fine-tuned model was deleted',
        fix: 'see GET /v1/models',
        cause,
      });
    }
  }

  /** Whole or absent: a folder under its name is complete. */
  private async make(folder: string, owner: string, weightsId: string): Promise<string> {
    const files = decodeColumns(await this.objects.get(owner, weightsId));
    const draft = `${folder}.draft`;
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    for (const [name, bytes] of Object.entries(files)) {
      if (/^[\w.-]+$/.test(name)) await writeFile(join(draft, name), bytes as Uint8Array);
    }
    await rename(draft, folder);
    return folder;
  }

  private async sweep(): Promise<void> {
    for (const name of await readdir(this.root)) {
      const [weightsId, owner] = name.split('@');
      if (weightsId === undefined || owner === undefined || owner.endsWith('.draft')) continue;
      await this.check(owner, weightsId).catch(async (error: { code?: string }) => {
        if (error.code === 'UNKNOWN_MODEL') await rm(join(this.root, name), { recursive: true, force: true });
      });
    }
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await rm(this.root, { recursive: true, force: true });
  }
}
