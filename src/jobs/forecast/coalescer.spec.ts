import { describe, expect, it } from '@jest/globals';
import type { ForecastRequest } from '../../forecast/forecaster.js';
import { AdderError } from '../../platform/errors.js';
import { Coalescer } from './coalescer.js';
import type { Answer } from './codec.js';

const request = (n: number): ForecastRequest => ({
  history: Float64Array.of(n),
  horizon: 1,
  season: 1,
  frequency: undefined,
  quantiles: [0.5],
});

/** Jobs that come back when they are told to, with each history's value; a negative one is at fault. */
function jobs() {
  const sent: { model: string; values: number[]; back: () => void; lose: (error: Error) => void }[] = [];
  const send = (model: string, requests: ForecastRequest[]) =>
    new Promise<Answer[]>((resolve, reject) => {
      const values = requests.map(({ history }) => history[0]!);
      const answer = (n: number): Answer =>
        n < 0
          ? { error: new AdderError({ code: 'NO_VALUES', message: 'no' }) }
          : { result: { quantiles: [Float64Array.of(n)] } };
      sent.push({ model, values, back: () => resolve(values.map(answer)), lose: reject });
    });
  return { sent, send };
}
const turn = () => new Promise((done) => setTimeout(done, 5));

describe('small calls', () => {
  it('leave at once when nothing is under way, and share jobs when much is', async () => {
    const { sent, send } = jobs();
    const coalescer = new Coalescer(send, 4);
    const results: Promise<number>[] = [];
    const call = (n: number) =>
      results.push(coalescer.forecast('m', request(n), undefined).then(({ quantiles }) => quantiles[0]![0]!));
    for (const n of [1, 2, 3]) {
      call(n);
      await turn();
    }
    expect(sent.map(({ values }) => values)).toEqual([[1], [2], [3]]);
    for (let n = 4; n <= 10; n++) call(n);
    await turn();
    expect(sent.length).toBe(3);
    sent[1]!.back();
    await turn();
    expect(sent.map(({ values }) => values).slice(3)).toEqual([[4, 5, 6, 7]]);
    sent[0]!.back();
    await turn();
    expect(sent[4]!.values).toEqual([8, 9, 10]);
    for (const job of sent) job.back();
    expect(await Promise.all(results)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('of different models never share a job', async () => {
    const { sent, send } = jobs();
    const coalescer = new Coalescer(send, 4);
    for (const model of ['a', 'b', 'a']) void coalescer.forecast(model, request(1), undefined);
    await turn();
    expect(sent.map(({ model, values }) => [model, values.length])).toEqual([
      ['a', 2],
      ['b', 1],
    ]);
  });

  it('fail alone for their own fault, together when their job is lost, and are not sent when nobody waits any more', async () => {
    const { sent, send } = jobs();
    const coalescer = new Coalescer(send, 4);
    const pair = [coalescer.forecast('m', request(1), undefined), coalescer.forecast('m', request(-1), undefined)];
    const gone = new AbortController();
    const left = coalescer.forecast('m', request(2), gone.signal);
    gone.abort(new Error('hung up'));
    await expect(left).rejects.toThrow('hung up');
    expect(sent[0]!.values).toEqual([1, -1]);
    sent[0]!.back();
    const [good, bad] = await Promise.allSettled(pair);
    expect(good.status).toBe('fulfilled');
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'NO_VALUES' } });

    const lost = [coalescer.forecast('m', request(1), undefined), coalescer.forecast('m', request(2), undefined)];
    await turn();
    sent[1]!.lose(new Error('lost'));
    expect((await Promise.allSettled(lost)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    // The lane is free again.
    const after = coalescer.forecast('m', request(3), undefined);
    await turn();
    sent[2]!.back();
    expect((await after).quantiles[0]![0]).toBe(3);
  });
});
