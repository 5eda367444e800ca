import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RequestError } from '../request-error.js';

/** A model that a request may name. */
export interface CatalogueEntry {
  name: string;
  kind: 'neural' | 'statistical';
  about: string;
  /** Bytes of its weights. */
  size?: number;
  parameters?: number;
  /** Its model card, Markdown. */
  card?: string;
  /** Figures that its folder holds, as `adder evaluate` writes them. */
  evaluation?: unknown;
}

/** The statistical methods that src/forecast/models.ts knows. */
const STATISTICAL: Record<string, string> = {
  theta: 'Theta method on the seasonally adjusted series',
  ets: 'exponential smoothing, form chosen by AICc',
  'seasonal-naive': 'the value one season ago',
  naive: 'the last value',
  drift: 'the line through first and last value',
  croston: "Croston's method for intermittent demand",
  sba: 'Croston with the Syntetos-Boylan correction',
};

/** Every model of this installation: the statistical methods, `adder` (the default weights), and the folders of `models/`. */
export function catalogue(folder = modelsFolder()): CatalogueEntry[] {
  const neural =
    folder === undefined ? [] : readdirSync(folder).flatMap((name) => neuralEntry(join(folder, name), name));
  return [
    { name: 'adder', kind: 'neural', about: 'the default neural forecaster, or theta where no weights are installed' },
    ...neural,
    ...Object.entries(STATISTICAL).map(([name, about]) => ({ name, kind: 'statistical' as const, about })),
  ];
}

function neuralEntry(path: string, name: string): CatalogueEntry[] {
  try {
    const { size } = statSync(join(path, 'model.safetensors'));
    const card = readIf(join(path, 'README.md'));
    const evaluation = readIf(join(path, 'evaluation.json'));
    return [
      {
        name,
        kind: 'neural',
        about: card?.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#')) ?? 'a neural forecaster',
        size,
        ...parametersOf(path),
        ...(card ? { card } : {}),
        ...(evaluation ? { evaluation: JSON.parse(evaluation) as unknown } : {}),
      },
    ];
  } catch {
    return [];
  }
}

/** What the training run recorded; files hold two bytes a weight or four. */
function parametersOf(path: string): Pick<CatalogueEntry, 'parameters'> {
  const config = JSON.parse(readIf(join(path, 'config.json')) ?? '{}') as { training?: { parameters?: number } };
  const parameters = config.training?.parameters;
  return parameters === undefined ? {} : { parameters };
}

function readIf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** `models/` of the package, seen from the sources and from the compiled files alike. */
function modelsFolder(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'models');
    if (readIf(join(candidate, 'README.md')) !== undefined) return candidate;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Whether the installation has a model of this name. Only such names ever reach the loader, which also takes paths. */
export const isCatalogued = (name: string) => catalogue().some((entry) => entry.name === name);

/** The entry of a name; throws `UNKNOWN_MODEL`. */
export function requireModel(name: string): CatalogueEntry {
  const entry = catalogue().find((candidate) => candidate.name === name);
  if (entry) return entry;
  throw unknownModel(name);
}

export const unknownModel = (name: string) =>
  new RequestError({
    status: 404,
    code: 'UNKNOWN_MODEL',
    message: `there is no model ${JSON.stringify(name.slice(0, 64))}`,
    where: { field: 'model' },
    fix: 'see GET /v1/models',
  });
