/** `npm run test:faults`: many kills in a random order, of two at once too. Minutes. */
import { expect, it } from '@jest/globals';
import { redisHere } from '../service/support/redis.js';
import { Battle, type Victim } from './fire.js';

const ROUNDS = 3;
const JOBS = 600;

it.each(['redis', 'postgres'] as const)(
  'jobs, forecasts and points through HTTP outlive %s kills in any order',
  async (queue) => {
    if (queue === 'redis' && !redisHere()) return;
    const kinds: Victim[] = [
      'worker',
      'inference',
      'api',
      'postgres',
      ...(queue === 'redis' ? ['redis' as const] : []),
    ];
    for (let round = 0; round < ROUNDS; round++) {
      const victims = Array.from({ length: 3 }, () => kinds)
        .flat()
        .map((victim) => ({ victim, at: Math.random() }))
        .sort((a, b) => a.at - b.at)
        .map(({ victim }) => victim);
      const battle = await Battle.prepare({ queue, jobs: JOBS, victims });
      try {
        const figures = await battle.fight();
        process.stderr.write(
          `${queue}: killed ${victims.join(', ')}; ${JSON.stringify(figures)}; clients saw ${JSON.stringify([...battle.refusals])}\n`,
        );
        expect(figures.forecasts).toBeGreaterThan(20);
      } finally {
        await battle.close();
      }
    }
  },
  3_600_000,
);
