import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeColumns, encodeColumns } from '../../src/store/columns.js';
import { ModelStore } from '../../src/store/models.js';
import { ObjectStore } from '../../src/store/objects.js';
import { type JobResult, ResultStore } from '../../src/store/results.js';
import { SeriesStore } from '../../src/store/series.js';
import { StateStore, type StoredState } from '../../src/store/states.js';
import { type TestDatabase, testDatabase } from './support/database.js';

let test: TestDatabase;
beforeAll(async () => {
  test = await testDatabase();
});
afterAll(() => test.close());

const nowhere = randomUUID();

describe('series', () => {
  it('are created on first sight, once, and only seen by their owner', async () => {
    const store = new SeriesStore(test.database);
    const wanted = [
      { uniqueId: 'a', freq: 'H', season: 24, metadata: { unit: 'kW' } },
      { uniqueId: 'b' },
      { uniqueId: 'a', freq: 'D' },
    ];
    const many = await Promise.all(Array.from({ length: 6 }, () => store.ensure('ann', wanted, 10)));
    const ids = new Set(many.map((found) => `${found.get('a')!.id},${found.get('b')!.id}`));
    expect(ids.size).toBe(1);
    expect(await store.count('ann')).toBe(2);
    expect((await store.get('ann', 'a')).owner).toBe('ann');
    await expect(store.get('eve', 'a')).rejects.toMatchObject({ code: 'UNKNOWN_SERIES' });
    await expect(store.update('eve', 'a', { season: 1 })).rejects.toMatchObject({ code: 'UNKNOWN_SERIES' });
    expect((await store.list('eve')).series).toEqual([]);
    expect((await store.find('eve', ['a'])).size).toBe(0);
    const changed = await store.update('ann', 'b', { season: 7 });
    expect(changed).toMatchObject({ before: { season: null, freq: null }, after: { season: 7, freq: null } });
    const again = await store.update('ann', 'b', { season: null, freq: 'H', metadata: { room: 'attic' } });
    expect(again).toMatchObject({ before: { season: 7, freq: null }, after: { season: null, freq: 'H' } });
    expect(again.after).toEqual(await store.get('ann', 'b'));
  });

  it('are limited in number, also for requests that come together', async () => {
    const store = new SeriesStore(test.database);
    const attempts = await Promise.allSettled(
      Array.from({ length: 5 }, (_, k) => store.ensure('max', [{ uniqueId: `${k}a` }, { uniqueId: `${k}b` }], 6)),
    );
    expect(attempts.filter(({ status }) => status === 'fulfilled').length).toBe(3);
    expect(attempts.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'TOO_MANY_SERIES' } });
    expect(await store.count('max')).toBe(6);
  });

  it('are listed page by page, whatever their names', async () => {
    const store = new SeriesStore(test.database);
    const names = ['a', 'A', 'é', '東京', '100%', 'under_score', 'a b', 'z'.repeat(256), '😀'];
    await store.ensure(
      'pages',
      names.map((uniqueId) => ({ uniqueId })),
      100,
    );
    const seen: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await store.list('pages', { limit: 2, ...(after === undefined ? {} : { after }) });
      seen.push(...page.series.map((row) => row.uniqueId));
      if (page.next === undefined) break;
      after = page.next;
    }
    expect([...seen].sort()).toEqual([...names].sort());
    expect((await store.list('pages', { prefix: '100%' })).series.map((row) => row.uniqueId)).toEqual(['100%']);
    for (const bad of ['', 'a\u0000b', 'a\nb', 'x'.repeat(257), '\ud800']) {
      await expect(store.ensure('pages', [{ uniqueId: bad }], 100)).rejects.toMatchObject({ code: 'BAD_NAME' });
    }
  });
});

describe('objects', () => {
  it.each([0, 1, 4 * 2 ** 20, 4 * 2 ** 20 + 1, 9 * 2 ** 20 + 17])(
    'of %d bytes come back whole and in parts',
    async (size) => {
      const store = new ObjectStore(test.database);
      const bytes = randomBytes(size);
      const id = await store.put('ann', { kind: 'test', meta: { n: 1 } }, bytes);
      expect((await store.get('ann', id)).equals(bytes)).toBe(true);
      const parts: Buffer[] = [];
      for await (const part of store.stream('ann', id)) {
        expect(part.length).toBeLessThanOrEqual(4 * 2 ** 20);
        parts.push(part);
      }
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
      expect(await store.info('ann', id)).toMatchObject({ size, kind: 'test', meta: { n: 1 }, expiresAt: null });
      await expect(store.get('eve', id)).rejects.toMatchObject({ code: 'UNKNOWN_OBJECT' });
      expect(await store.remove('eve', id)).toBe(false);
      expect(await store.remove('ann', id)).toBe(true);
      const { rows } = await test.database.pool.query('select from object_chunks where object_id = $1', [id]);
      expect(rows).toEqual([]);
    },
  );

  it('expire', async () => {
    const store = new ObjectStore(test.database);
    const short = await store.put('ann', { kind: 'test', keepMs: 0 }, Buffer.from('x'));
    const long = await store.put('ann', { kind: 'test', keepMs: 60_000 }, Buffer.from('y'));
    await expect(store.get('ann', short)).rejects.toMatchObject({ code: 'UNKNOWN_OBJECT' });
    expect(await store.sweep()).toBe(1);
    expect((await store.get('ann', long)).toString()).toBe('y');
  });
});

describe('columns', () => {
  it('of every type come back to the bit, from any offset', () => {
    const columns = {
      'lo-80': Float64Array.of(Number.NaN, -0, 5e-324, 1e308),
      f32: Float32Array.of(1.5, Number.NEGATIVE_INFINITY),
      flags: Uint8Array.of(1, 0, 1),
      idxs: Uint32Array.of(4_294_967_295),
      signed: Int32Array.of(-1, 2),
      'empty é': new Float64Array(0),
    };
    const bytes = encodeColumns(columns);
    expect(decodeColumns(bytes)).toEqual(columns);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(decodeColumns(shifted.subarray(3))).toEqual(columns);
    expect(() => decodeColumns(bytes.subarray(0, bytes.length - 16))).toThrow('cut off');
    expect(() => decodeColumns(Buffer.from('no columns at all'))).toThrow('not columns');
  });
});

describe('results', () => {
  const job = async (owner: string): Promise<string> => {
    const id = randomUUID();
    await test.database.prisma.job.create({
      data: { id, owner, kind: 'test', queue: 'test', data: {}, priority: 1, maxAttempts: 1 },
    });
    return id;
  };
  const result = (ordinal: number, window: number, value: number): JobResult => ({
    seriesKey: `s${ordinal}`,
    ordinal,
    window,
    kind: 'forecast',
    seriesId: null,
    cutoff: 1_700_000_000_123,
    meta: { season: 24 },
    columns: { mean: Float64Array.of(value) },
  });

  it('are written once however often the job runs, and paged in order', async () => {
    const store = new ResultStore(test.database);
    const id = await job('ann');
    expect(await store.write('ann', id, [result(1, 0, 10), result(0, 1, 1), result(0, 0, 0)])).toBe(3);
    // The second run got further, and would have other numbers: what stands stays.
    expect(await store.write('ann', id, [result(0, 0, 99), result(1, 1, 11)])).toBe(1);
    expect(await store.windowsDone(id, 's1')).toEqual(new Set([0, 1]));
    const seen: number[] = [];
    for (let after: { ordinal: number; window: number } | undefined; ; ) {
      const page = await store.page('ann', id, { limit: 3, ...(after ? { after } : {}) });
      for (const row of page.results) {
        expect(row).toMatchObject({
          cutoff: 1_700_000_000_123,
          meta: { season: 24 },
          kind: 'forecast',
          seriesId: null,
        });
        seen.push(row.columns.mean![0]!);
      }
      if (!page.next) break;
      after = page.next;
    }
    expect(seen).toEqual([0, 1, 10, 11]);
    expect((await store.page('eve', id)).results).toEqual([]);
    await expect(store.write('ann', nowhere, [result(0, 0, 0)])).rejects.toMatchObject({ code: 'UNKNOWN_JOB' });
  });
});

describe('states', () => {
  const stateOf = async (owner: string, seriesId: bigint, modelId: string): Promise<StoredState | undefined> => {
    const { rows } = await test.database.pool.query<StoredState>(
      `select series_id as "seriesId", model_id as "modelId", weights_digest as "weightsDigest", version, position,
              (extract(epoch from last_at) * 1000)::float8 as "lastAt", sequence, bytes, dirty, revision
       from states where owner = $1 and model_id = $2 and series_id = $3`,
      [owner, modelId, seriesId],
    );
    return rows[0];
  };

  it('are continued by one owner at a time and go with their series', async () => {
    const series = new SeriesStore(test.database);
    const store = new StateStore(test.database);
    const { id } = (await series.ensure('ann', [{ uniqueId: 'live' }], 100)).get('live')!;
    const state: StoredState = {
      seriesId: id,
      modelId: 'adder',
      weightsDigest: 'abc',
      version: 1,
      position: 12_345_678_901n,
      lastAt: 1_700_000_000_123,
      sequence: 5n,
      bytes: randomBytes(1000),
      dirty: false,
      revision: 0,
    };
    const kept = new Set([id]);
    expect(await store.write('ann', [state])).toEqual(kept);
    const read = (await stateOf('ann', id, 'adder'))!;
    expect(read).toEqual({ ...state, revision: 1 });
    const steps = await Promise.all([
      store.write('ann', [{ ...read, position: 1n }]),
      store.write('ann', [{ ...read, position: 2n }]),
    ]);
    expect(steps.map(({ size }) => size).sort()).toEqual([0, 1]);
    expect(await store.write('ann', [state])).toEqual(new Set());
    expect(await store.write('eve', [{ ...read, revision: 2 }])).toEqual(new Set());
    expect(await stateOf('eve', id, 'adder')).toBeUndefined();
    await series.remove('ann', 'live');
    expect(await stateOf('ann', id, 'adder')).toBeUndefined();
    expect(await store.write('ann', [{ ...read, revision: 2 }])).toEqual(new Set());
  });
});

describe('models', () => {
  it('that were made in passing are not listed, and go after a while', async () => {
    const store = new ModelStore(test.database);
    const card = { automatic: 'true' };
    await store.put('ann', { id: 'auto-1', base: 'adder', digest: 'd1', card }, randomBytes(10));
    expect(await store.list('ann')).toEqual([]);
    expect(await store.sweep(60_000)).toBe(0);
    expect((await store.find('ann', 'auto-1'))?.digest).toBe('d1');
    expect(await store.sweep(0)).toBe(1);
    expect(await store.find('ann', 'auto-1')).toBeUndefined();
  });

  it('are kept once, with their weights, and leave nothing', async () => {
    const store = new ModelStore(test.database);
    const model = { id: 'tuned-1', base: 'adder', digest: 'd1', card: { steps: 10 } };
    const weights = randomBytes(5 * 2 ** 20);
    await Promise.all([store.put('ann', model, weights), store.put('ann', model, weights)]);
    expect((await store.list('ann')).map(({ id, card }) => ({ id, card }))).toEqual([
      { id: 'tuned-1', card: { steps: 10 } },
    ]);
    expect((await store.weights('ann', 'tuned-1')).equals(weights)).toBe(true);
    const { objectId } = await store.get('ann', 'tuned-1');
    await expect(store.put('ann', { ...model, digest: 'd2' }, weights)).rejects.toMatchObject({ code: 'MODEL_EXISTS' });
    await expect(store.put('ann', { ...model, id: '../x' }, weights)).rejects.toMatchObject({ code: 'BAD_MODEL_ID' });
    await expect(store.get('eve', 'tuned-1')).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' });
    await expect(store.remove('eve', 'tuned-1')).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' });
    await store.remove('ann', 'tuned-1');
    const { rows } = await test.database.pool.query('select from objects where id = $1', [objectId]);
    expect(rows).toEqual([]);
  });
});
