import { EngineError } from '../../engine/errors.js';
import { AdderError } from '../errors.js';

/** Runs `body`; an error of the engine comes out as the platform's, with the same fields. */
export async function withAdderErrors<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof EngineError) {
      const { code, message, where, fix } = error;
      throw new AdderError({ code, message, where, fix, cause: error });
    }
    throw error;
  }
}
