/** Every process is killed once in the middle of 200 jobs; `npm run test:faults` does it longer. */
import { expect, it } from '@jest/globals';
import { redisHere } from '../service/support/redis.js';
import { Battle, type Victim } from './fire.js';

const victims: Victim[] = ['worker', 'inference', 'api', 'postgres'];

it.each([
  ['redis', ['worker', 'inference', 'api', 'redis', 'postgres']],
  ['postgres', victims],
] as ['redis' | 'postgres', Victim[]][])(
  'jobs, forecasts and points through HTTP outlive every kill, with queues on %s',
  async (queue, killed) => {
    if (queue === 'redis' && !redisHere()) return;
    const battle = await Battle.prepare({ queue, jobs: queue === 'redis' ? 200 : 80, victims: killed });
    try {
      const { forecasts, batches } = await battle.fight();
      expect(forecasts).toBeGreaterThan(5);
      expect(batches).toBeGreaterThan(5);
      // The fire was real: clients have felt it.
      expect(battle.refusals.size).toBeGreaterThan(0);
    } finally {
      await battle.close();
    }
  },
  400_000,
);
