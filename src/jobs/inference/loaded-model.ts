import type { Forecaster, ForecastRequest, RollRequest } from '../../forecast/forecaster.js';
import type { NeuralForecaster } from '../../forecast/model/forecaster.js';
import { type ModelOptions, resolveForecaster } from '../../forecast/models.js';
import { StackedForecaster } from '../../forecast/stack/stack.js';
import { AdderError } from '../../platform/errors.js';
import type { ModelInfo, WorkKind, Works } from './protocol.js';

/** A model in the inference process, with all that it can be asked. */
export interface LoadedModel {
  readonly forecaster: Forecaster;
  readonly info: ModelInfo;
  /** Results in the order of the requests. Throws `CANNOT_ROLL` for what the model does not do, and the model's errors. */
  work(kind: WorkKind, requests: Works[WorkKind]['request'][]): Promise<Works[WorkKind]['result'][]>;
  close(): Promise<void>;
}

/** Opens a model by its name or folder, on the given backend or the best one, with the given parts of the stack. */
export async function openModel(name: string, options: Pick<ModelOptions, 'backend' | 'stack'>): Promise<LoadedModel> {
  // Without a name the default falls back to a statistical method where no weights are installed.
  const forecaster = await resolveForecaster(name === 'adder' ? undefined : name, options);
  return forecaster instanceof StackedForecaster
    ? openNeural(forecaster as StackedForecaster<NeuralForecaster>)
    : openPlain(forecaster);
}

function openPlain(forecaster: Forecaster): LoadedModel {
  return {
    forecaster,
    info: { model: forecaster.id, backend: 'javascript' },
    work: async (kind, requests) => {
      if (kind === 'forecast') return forecaster.forecast(requests as ForecastRequest[]);
      throw new AdderError({ code: 'CANNOT_ROLL', message: `${forecaster.id} scans nothing` });
    },
    close: async () => forecaster.close?.(),
  };
}

/** Forecasts come from the whole stack, scans from the bare network. */
async function openNeural(forecaster: StackedForecaster<NeuralForecaster>): Promise<LoadedModel> {
  const { NeuralRoller } = await import('../../forecast/model/roll.js');
  const { bare } = forecaster;
  const { model } = bare;
  const roller = new NeuralRoller(bare);
  return {
    forecaster,
    info: { model: forecaster.id, backend: model.backend.name, rollStep: roller.step },
    work: async (kind, requests) => {
      switch (kind) {
        case 'forecast':
          return forecaster.forecast(requests as ForecastRequest[]);
        case 'roll':
          return roller.roll(requests as RollRequest[]);
      }
    },
    close: async () => {
      await roller.close();
      await forecaster.close();
    },
  };
}
