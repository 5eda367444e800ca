/** Fine-tuning as this protocol asks for it: by a request of its own, or on the way to a forecast (`finetune_steps`). */
import { createHash } from 'node:crypto';
import { serialize } from 'node:v8';
import type { Caller } from '../../http/auth/caller.js';
import type { ApiContext } from '../../http/context.js';
import { type AddOptions, isDone } from '../../jobs/client.js';
import type { DataOfJob } from '../../jobs/table.js';
import { AdderError } from '../../platform/errors.js';
import { RequestError, statusOf } from '../../platform/request-error.js';
import { isCatalogued } from '../../platform/rest/model-catalogue.js';
import type { Queryable } from '../../store/database.js';
import { ModelStore } from '../../store/models.js';
import { ObjectStore } from '../../store/objects.js';
import { invalid } from './invalid.js';
import { resolveModel } from './models.js';
import { readSeries } from './payload.js';
import type { FinetuneInput, ForecastInput } from './schemas.js';

/** Steps where a request names none. */
const STEPS = 10;

/** How long the series of a request wait for their job. */
const KEPT_MS = 24 * 3_600_000;

/** What the job of one request is, before its series are stored. */
export interface Tuning {
  /** Id of the model that it makes. */
  id: string;
  request: string;
  data: Omit<DataOfJob<'fine-tune'>, 'values' | 'names'>;
  series: Buffer;
}

type Tunable = Pick<FinetuneInput, 'series' | 'freq' | 'finetune_steps' | 'finetune_depth' | 'finetune_loss'> &
  Pick<ForecastInput, 'model' | 'finetuned_model_id'>;

/**
 * Reads and checks a request. Everything that the result depends on makes the name of the request, and of its model where
 * the client names none, so that a repetition finds what was begun.
 */
export async function tuningOf(
  api: ApiContext,
  caller: Caller,
  input: Tunable,
  named: string | null | undefined,
  automatic: boolean,
  signal: AbortSignal,
): Promise<Tuning> {
  const base = await api.forecasts.names.resolve(caller.owner, resolveModel(input));
  const series = await readSeries(caller, input.series, input.freq, 0, null, signal);
  const bytes = serialize(
    series.map(({ values, season, frequency }) => ({ values: values.slice(), season, frequency })),
  );
  const steps = input.finetune_steps || STEPS;
  const depth = input.finetune_depth ?? 1;
  const request = createHash('sha256')
    .update(JSON.stringify([base ?? api.config.model, steps, depth, named ?? null]))
    .update(bytes)
    .digest('hex');
  const id = named ?? `${automatic ? 'auto' : 'ft'}-${request.slice(0, 24)}`;
  if (isCatalogued(id))
    throw invalid(`${JSON.stringify(id)} is the name of a model that is there already`, 'output_model_id');
  const about = {
    depth,
    loss: input.finetune_loss ?? 'default',
    freq: input.freq,
    ...(automatic ? { automatic: 'true' } : {}),
  };
  return { id, request, series: bytes, data: { id, steps, depth, request, about, ...(base ? { base } : {}) } };
}

/** Data of the job, its series kept in the same transaction. */
export const tuningData =
  (api: ApiContext, { owner }: Caller, { data, series }: Tuning) =>
  async (client?: Queryable): Promise<DataOfJob<'fine-tune'>> => {
    const kept = { kind: 'fine-tune-series', keepMs: KEPT_MS };
    return { ...data, names: null, values: await new ObjectStore(api.database).put(owner, kept, series, client) };
  };

/** Whether the model of the request is there. Throws 422 when another model has its name. */
export async function isTuned(api: ApiContext, { owner }: Caller, { id, request }: Tuning): Promise<boolean> {
  const known = await new ModelStore(api.database).find(owner, id);
  if (!known) return false;
  if ((known.card as { request?: string } | null)?.request === request) return true;
  // Not 409, which these clients send again and again.
  throw invalid(
    `there is a model ${JSON.stringify(id)} already; delete it first, or choose another id`,
    'output_model_id',
  );
}

/** Begins the job, or joins that of the same request. */
export async function startTuning(api: ApiContext, caller: Caller, tuning: Tuning, deadline?: Date): Promise<string> {
  const options: AddOptions = { owner: caller.owner, dedupKey: tuning.request, ...(deadline ? { deadline } : {}) };
  return (await api.jobs.client.add('fine-tune', tuningData(api, caller, tuning), options)).id;
}

/**
 * Fine-tunes while the client waits. What takes longer than it may goes on, and 503 makes the client ask again, which finds
 * the job or its model.
 */
export async function tuneNow(api: ApiContext, caller: Caller, tuning: Tuning, signal: AbortSignal): Promise<string> {
  if (await isTuned(api, caller, tuning)) return tuning.id;
  const job = await startTuning(api, caller, tuning);
  const timeoutMs = Math.max(0, api.config.server.syncTimeoutMs - 1000);
  const { status, error } = await api.jobs.client.wait(caller.owner, job, { timeoutMs, signal });
  if (status === 'succeeded') return tuning.id;
  if (isDone(status)) {
    const failure = new AdderError(error ?? { code: 'INTERNAL', message: 'the job failed' });
    throw new RequestError({ ...failure.toJSON(), status: statusOf(failure), cause: failure });
  }
  throw new RequestError({
    status: 503,
    code: 'TIMEOUT',
    message: 'fine-tuning takes longer than a request may; it goes on',
    fix: 'send the same request again, or send it to /async',
    retryAfter: 10,
  });
}
