import { isCatalogued, unknownModel } from '../platform/rest/model-catalogue.js';
import type { ModelStore } from '../store/models.js';

const TUNED = /^tuned:([^:]+):([0-9a-f-]{36})$/;

/**
 * How the engines know a fine-tuned model: by its owner and its weights, so that another model of the same name is another
 * model. No request can name one like this; names are looked up in `ModelNames`.
 */
export const tunedModel = (owner: string, weightsId: string) => `tuned:${owner}:${weightsId}`;

/** Owner and weights of a fine-tuned model; undefined for models of the catalogue. */
export function tunedParts(model: string): { owner: string; weightsId: string } | undefined {
  const [, owner, weightsId] = TUNED.exec(model) ?? [];
  return owner === undefined || weightsId === undefined ? undefined : { owner, weightsId };
}

/** Turns names that requests use into those that the engines know. */
export class ModelNames {
  constructor(private readonly models: ModelStore) {}

  /** Undefined stays undefined: the configured default. Throws `UNKNOWN_MODEL`, also for a model of another owner. */
  async resolve(owner: string, name: string | null | undefined): Promise<string | undefined> {
    if (name === null || name === undefined) return undefined;
    if (isCatalogued(name)) return name;
    if (!/^[\w-]{1,36}$/.test(name)) throw unknownModel(name);
    try {
      const { objectId } = await this.models.get(owner, name);
      return tunedModel(owner, objectId);
    } catch (error) {
      throw (error as { code?: string }).code === 'UNKNOWN_MODEL' ? unknownModel(name) : error;
    }
  }
}
