import { RequestError } from '../../platform/request-error.js';
import { catalogue } from '../../platform/rest/model-catalogue.js';
import { invalid } from './invalid.js';

/** Names that these clients send when the user names none, or by habit. */
const DEFAULTS = /^(timegpt-[\w.-]+|azureai)$/;

/** Our name of the model that a payload asks for; undefined is the configured default. */
export function resolveModel(input: {
  model?: string | null | undefined;
  finetune_steps?: number | null | undefined;
  finetuned_model_id?: string | null | undefined;
}): string | undefined {
  if (input.finetune_steps) throw noFineTuning('finetune_steps');
  if (input.finetuned_model_id) {
    throw new RequestError({
      status: 404,
      code: 'UNKNOWN_MODEL',
      message: `there is no fine-tuned model ${JSON.stringify(input.finetuned_model_id)}`,
      where: { field: 'finetuned_model_id' },
      fix: 'see GET /v2/finetuned_models',
    });
  }
  const { model } = input;
  if (model === null || model === undefined || DEFAULTS.test(model)) return undefined;
  if (catalogue().some(({ name }) => name === model)) return model;
  throw invalid(`there is no model ${JSON.stringify(model)}; leave it out, or see GET /v1/models`, 'model');
}

/** Not 5xx: clients must not try again. */
export const noFineTuning = (field?: string) =>
  field === undefined
    ? new RequestError({
        status: 501,
        code: 'NOT_AVAILABLE',
        message: 'fine-tuning is not available yet',
        fix: 'forecast without it',
      })
    : invalid('fine-tuning is not available yet; send 0', field);

export const noAsync = () =>
  new RequestError({
    status: 501,
    code: 'NOT_AVAILABLE',
    message: 'asynchronous jobs of this protocol are not available yet',
    fix: 'send it to the same path without /async; use num_partitions for many series',
  });
