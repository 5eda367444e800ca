import { catalogue } from '../../platform/rest/model-catalogue.js';
import { invalid } from './invalid.js';

/** Names that these clients send when the user names none, or by habit. */
const DEFAULTS = /^(timegpt-[\w.-]+|azureai)$/;

/** The name of the model that a payload asks for; undefined is the configured default. `finetuned_model_id` wins. */
export function resolveModel(input: {
  model?: string | null | undefined;
  finetuned_model_id?: string | null | undefined;
}): string | undefined {
  const { model, finetuned_model_id: tuned } = input;
  if (tuned !== null && tuned !== undefined) return tuned;
  if (model === null || model === undefined || DEFAULTS.test(model)) return undefined;
  if (catalogue().some(({ name }) => name === model)) return model;
  throw invalid(`there is no model ${JSON.stringify(model)}; leave it out, or see GET /v1/models`, 'model');
}
