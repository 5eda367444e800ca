import { z } from 'zod';

/** A zod schema as OpenAPI 3.0 has it, for answers; Nest itself converts those of bodies. */
export function openApiSchema(schema: z.ZodType, io: 'input' | 'output' = 'output'): Record<string, never> {
  const {
    $schema: _,
    $ref,
    definitions,
    ...rest
  } = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io,
    unrepresentable: 'any',
  }) as Record<string, unknown> & { $ref?: string; definitions?: Record<string, unknown> };
  // A schema with an id comes as a reference to itself.
  const own = $ref === undefined ? rest : definitions?.[$ref.replace('#/definitions/', '')];
  return own as Record<string, never>;
}
