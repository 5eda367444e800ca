import { AdderError, type ErrorPlace, toAdderError } from '../platform/errors.js';

/** An error as it is kept with a job and shown to its owner. */
export interface JobError {
  code: string;
  message: string;
  where?: ErrorPlace;
  fix?: string;
}

/**
 * Failures that another run may not meet. Every other AdderError says that the request is at fault, and would be the same
 * the next time; what is not an AdderError is unforeseen, and worth another try.
 */
const TRANSIENT = new Set([
  'ATTEMPT_TIMEOUT',
  'DATABASE_BUSY',
  'DATABASE_UNREACHABLE',
  'INFERENCE_LOST',
  'INFERENCE_TIMEOUT',
  'INTERNAL',
  'OVERLOADED',
]);

export const isTransient = (error: unknown): boolean => !(error instanceof AdderError) || TRANSIENT.has(error.code);

export function toJobError(error: unknown): JobError {
  return toAdderError(error).toJSON();
}

/** Why a running job was told to stop; the reason of its abort signal. */
export type StopReason = 'cancelled' | 'deadline' | 'timeout' | 'shutdown' | 'lost';

export class JobStopped extends Error {
  override readonly name = 'JobStopped';
  constructor(
    readonly reason: StopReason,
    message: string,
  ) {
    super(message);
  }
}

export const deadlineError = (): JobError => ({
  code: 'DEADLINE_EXCEEDED',
  message: 'the job was not finished by its deadline',
  fix: 'give it more time, send less at once, or try again when there is less to do',
});

export const cancelledError = (reason: string): JobError => ({ code: 'CANCELLED', message: reason });

export const workerLostError = (attempts: number): JobError => ({
  code: 'WORKER_LOST',
  message: `the process that ran the job ended ${attempts} times before the job did`,
  fix: 'see the log of the workers; the job may need more memory than they have',
});

export const childError = (childId: string): JobError => ({
  code: 'CHILD_FAILED',
  message: `job ${childId}, which this one needs, did not succeed`,
  fix: `see the error of job ${childId}`,
});
