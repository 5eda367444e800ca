import { describe, expect, it } from '@jest/globals';
import { modelCard, readIndex } from './model-card.js';

const index = readIndex(`# Pool

## train

| dataset | domain | freq | series | obs | len min/med/max | source | licence (as stated) | note |
|---|---|---|---|---|---|---|---|---|
| tides | sea | H | 3 | 1,200 | 1/2/3 | harbour office | CC BY 4.0 | |
| shops | retail | W | 90 | 8,000 | 1/2/3 | chamber | ODbL | weekly |

## dev

| dataset | domain | freq | series | obs | len min/med/max | source | licence (as stated) | note |
|---|---|---|---|---|---|---|---|---|
| other | sea | H | 3 | 1,200 | 1/2/3 | harbour office | CC BY 4.0 | |
`);

const model = {
  name: 'first',
  config: { patch: 16, dModel: 8, levels: [0.1, 0.9] },
  training: {
    finished: true,
    steps: 1000,
    skipped: 2,
    seconds: 50,
    parameters: 123_456,
    heldOutLoss: { long: 0.51234 },
    device: 'a device',
    date: '2026-01-02',
    datasets: ['shops', 'tides'],
    series: 93,
    observations: 9200,
    configuration: {
      seed: 4,
      precision: 'f16',
      model: { patch: 16 },
      batch: { synthetic: 0.5, parts: [{ name: 'long', windows: 10, length: 160, weight: 1, longestRollout: 4 }] },
      optimiser: { learningRate: 0.003 },
      schedule: { warmup: 10, decay: 0.35 },
    },
  },
};

describe('model cards', () => {
  it('say what the run was, on which data under which licence, and how it was evaluated', () => {
    const report = '# Evaluation of first\n\n2026-01-02; data /somewhere/private. MASE.\n\n## C10\n\n| a |\n';
    const card = modelCard(model, 3 * 2 ** 20, [], index, report, '## Use\n\nIt is small.\n');
    expect(card).toContain('| parameters | 123,456 |');
    expect(card).toContain('| levels | 0.1, 0.9 |');
    expect(card).toContain('1,000 optimiser steps in 50 s, 10,000 windows, 100,000 tokens');
    expect(card).toContain('long 0.5123');
    expect(card).toContain('at most 160 steps, with up to 64 of them');
    expect(card).toContain('| shops | retail | W | 90 | 8,000 | chamber | ODbL |');
    expect(card.indexOf('| shops')).toBeLessThan(card.indexOf('| tides'));
    expect(card).not.toContain('| other');
    expect(card).toContain('| weights | 3.0 MiB |');
    expect(card.indexOf('It is small.')).toBeLessThan(card.indexOf('## Training'));
    expect(card).toContain('last 1,024 values');
    expect(card).toContain('### C10');
    expect(card).not.toContain('private');
  });

  it('refuse data of unknown origin', () => {
    const unknown = { ...model, training: { ...model.training, datasets: ['found on the road'] } };
    expect(() => modelCard(unknown, 1, [], index)).toThrow(/says nothing of found on the road/);
  });
});
