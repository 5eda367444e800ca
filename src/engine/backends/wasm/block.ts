/** What stands behind a tensor of this backend: a range of the shared memory. */
import { EngineError } from '../../errors.js';
import type { Tensor } from '../../tensor.js';
import type { Pool } from './pool.js';

/** A weight matrix repacked for the matrix product, kept as long as the weight lives. */
export interface Pack {
  readonly at: number;
  readonly size: number;
  readonly key: string;
  /** The matrix was written since it was packed. */
  stale: boolean;
  readonly source: Tensor;
  readonly transposed: boolean;
}

export class Block {
  freed = false;
  /** Plans alive that write here: what they compute cannot be packed once and for all. */
  planWriters = 0;
  packs: Pack[] | undefined;

  constructor(
    readonly pool: Pool,
    readonly at: number,
    readonly size: number,
  ) {}
}

/** The block of a tensor, after making sure that it belongs here and still lives. */
export function blockOf(t: Tensor, pool: Pool, name: string): Block {
  const block = t.storage;
  if (!(block instanceof Block) || block.pool !== pool) {
    throw new EngineError({
      code: 'FOREIGN_TENSOR',
      message: `tensor ${name} belongs to another backend`,
      where: { field: name },
      fix: 'write its numbers into a tensor of this backend',
    });
  }
  if (block.freed) {
    throw new EngineError({
      code: 'FREED_TENSOR',
      message: `tensor ${name} was freed`,
      where: { field: name },
      fix: 'free a tensor after its last use',
    });
  }
  return block;
}
