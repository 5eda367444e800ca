/**
 * The engine's own error. It has the fields of the platform's AdderError, so that a door can print either, but lives
 * here because the engine imports nothing from above it.
 */
export interface EngineErrorFields {
  /** Stable upper-case identifier that callers and tests may compare, e.g. `DEVICE_LOST`. */
  code: string;
  /** What happened, one sentence without a full stop. */
  message: string;
  where?: EngineErrorPlace;
  /** What the caller can do about it. */
  fix?: string;
  cause?: unknown;
}

export interface EngineErrorPlace {
  /** Kernel or weight file. */
  file?: string;
  /** 1-based line of the file. */
  line?: number;
  /** Tensor, option or kernel argument. */
  field?: string;
}

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: string;
  readonly where: EngineErrorPlace | undefined;
  readonly fix: string | undefined;

  constructor(fields: EngineErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.where = fields.where;
    this.fix = fields.fix;
  }
}
