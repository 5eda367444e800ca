import { createHash } from 'node:crypto';
import type { Caller } from '../../http/auth/caller.js';
import type { ApiContext } from '../../http/context.js';
import { RequestError } from '../../platform/request-error.js';
import { catalogue, isCatalogued } from '../../platform/rest/model-catalogue.js';
import type { Queryable } from '../../store/database.js';
import { ModelStore } from '../../store/models.js';
import { ObjectStore } from '../../store/objects.js';
import { unknownSeries } from '../../store/series.js';
import type { Added } from '../client.js';
import { keepNames } from '../kinds/names.js';
import type { NewFlowBody, NewJobBody } from './schemas.js';

/** Adds what a request asks for. An unfinished job of the same request is that job. */
export async function startJob(api: ApiContext, caller: Caller, body: NewJobBody): Promise<Added> {
  const { deadline, ...asked } = body;
  const options = {
    owner: caller.owner,
    dedupKey: createHash('sha256').update(JSON.stringify(body)).digest('hex'),
    ...(deadline === undefined ? {} : { deadline: new Date(deadline) }),
  };
  const { client } = api.jobs;
  if (asked.kind === 'import') {
    const { kind, ...data } = asked;
    await checkUpload(api, caller, data.upload);
    return client.add(kind, data, options);
  }
  const { series, prefix, ...rest } = asked;
  await check(api, caller, rest);
  const names = await select(api, caller, { series, prefix });
  const keep = (tx: Queryable) =>
    keepNames(new ObjectStore(api.database), caller.owner, names, api.config.jobs.retentionMs, tx);
  switch (rest.kind) {
    case 'backtest': {
      const { kind, ...data } = rest;
      return client.add(kind, async (tx) => ({ ...data, names: await keep(tx) }), options);
    }
    case 'anomaly': {
      const { kind, ...data } = rest;
      return client.add(kind, async (tx) => ({ ...data, names: await keep(tx) }), options);
    }
    case 'fine-tune': {
      const { kind, base, id, ...data } = rest;
      const engineBase = await api.forecasts.names.resolve(caller.owner, base);
      const model = id ?? `ft-${options.dedupKey.slice(0, 24)}`;
      await checkNewModel(api, caller, model, base);
      const about = { scope: data.scope };
      return client.add(
        kind,
        async (tx) => ({
          ...data,
          id: model,
          names: await keep(tx),
          request: options.dedupKey,
          depth: 1,
          about,
          ...(engineBase === undefined ? {} : { base: engineBase }),
        }),
        options,
      );
    }
    case 'backfill': {
      const { kind, ...data } = rest;
      return client.add(kind, async (tx) => ({ ...data, names: await keep(tx) }), options);
    }
  }
}

/** An import, a backfill of the series that it brought, and a report of both; returns their ids, the report's first. */
export async function startFlow(api: ApiContext, caller: Caller, body: NewFlowBody): Promise<string[]> {
  await checkUpload(api, caller, body.import.upload);
  await check(api, caller, body.backfill);
  return api.jobs.client.addFlow(
    {
      kind: 'report',
      data: {},
      children: [
        {
          kind: 'backfill',
          data: { ...body.backfill, names: null },
          children: [{ kind: 'import', data: body.import }],
        },
      ],
    },
    { owner: caller.owner, ...(body.deadline === undefined ? {} : { deadline: new Date(body.deadline) }) },
  );
}

/** Throws `MODEL_EXISTS` when the name is taken, and 422 for a base without weights. */
async function checkNewModel(api: ApiContext, { owner }: Caller, id: string, base: string | undefined): Promise<void> {
  const refuse = (status: number, code: string, message: string, field: string, fix: string) =>
    new RequestError({ status, code, message, where: { field }, fix });
  if (catalogue().find(({ name }) => name === base)?.kind === 'statistical') {
    throw refuse(422, 'BAD_BASE', `${base} has no weights to be tuned`, 'base', 'name a neural model, or none');
  }
  if (isCatalogued(id) || (await new ModelStore(api.database).find(owner, id))) {
    throw refuse(
      409,
      'MODEL_EXISTS',
      `there is a model ${JSON.stringify(id)} already`,
      'id',
      'delete it, or choose another id',
    );
  }
}

async function check(api: ApiContext, { owner, limits }: Caller, asked: object): Promise<void> {
  const { model, horizon } = asked as { model?: string; horizon?: number };
  await api.forecasts.names.resolve(owner, model);
  if (horizon === undefined || horizon <= limits.horizon) return;
  throw new RequestError({
    status: 422,
    code: 'TOO_MUCH',
    message: `a horizon of ${horizon} steps, at most ${limits.horizon}`,
    where: { field: 'horizon' },
    fix: 'ask for fewer steps',
  });
}

/** Throws `UNKNOWN_OBJECT` for what this account has not uploaded. */
async function checkUpload(api: ApiContext, { owner }: Caller, upload: string): Promise<void> {
  const { kind } = await new ObjectStore(api.database).info(owner, upload);
  if (kind === 'upload') return;
  throw new RequestError({
    status: 404,
    code: 'UNKNOWN_OBJECT',
    message: `there is no upload ${upload}`,
    where: { field: 'upload' },
    fix: 'send the file to POST /v1/uploads first',
  });
}

async function select(
  api: ApiContext,
  { owner, limits }: Caller,
  { series, prefix }: { series?: string[] | undefined; prefix?: string | undefined },
): Promise<string[]> {
  if (series !== undefined) {
    const names = [...new Set(series)];
    const found = await api.series.find(owner, names);
    const missing = series.findIndex((name) => !found.has(name));
    if (missing >= 0) throw unknownSeries(series[missing]!).at({ field: `series[${missing}]` });
    return names;
  }
  const names: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await api.series.list(owner, {
      limit: 1000,
      prefix: prefix!,
      ...(after === undefined ? {} : { after }),
    });
    for (const { uniqueId } of page.series) names.push(uniqueId);
    after = page.next;
    if (after === undefined || names.length > limits.storedSeries) break;
  }
  if (names.length > 0) return names;
  throw new RequestError({
    status: 404,
    code: 'UNKNOWN_SERIES',
    message: `no series begins with ${JSON.stringify(prefix)}`,
    where: { field: 'prefix' },
    fix: 'see GET /v1/series?prefix=',
  });
}
