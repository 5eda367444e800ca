/** Every operation of the service, from the OpenAPI document that it makes of its own schemas. */
import { call, type TestApp } from '../../http/app.js';

export type Schema = Record<string, unknown> & {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  enum?: unknown[];
  nullable?: boolean;
  additionalProperties?: Schema | boolean;
  required?: string[];
};

export interface Operation {
  method: string;
  path: string;
  parameters: { name: string; in: 'path' | 'query'; schema: Schema }[];
  /** Schema of the JSON body; undefined where the route takes none. */
  body: Schema | undefined;
}

export interface Api {
  operations: Operation[];
  schemas: Record<string, Schema>;
}

const METHODS = ['get', 'put', 'post', 'delete', 'patch', 'head', 'options'];

export async function readApi(app: TestApp): Promise<Api> {
  const { body: document } = await call<{
    paths: Record<string, Record<string, Record<string, unknown>>>;
    components: { schemas: Record<string, Schema> };
  }>(app, 'GET', '/docs/openapi.json');
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => METHODS.includes(method))
      .map(([method, operation]) => {
        const content = (operation.requestBody as { content?: Record<string, { schema?: Schema }> })?.content;
        return {
          method: method.toUpperCase(),
          path,
          parameters: (operation.parameters ?? []) as Operation['parameters'],
          body: content?.['application/json']?.schema,
        };
      }),
  );
  return { operations, schemas: document.components.schemas };
}

export const nameOf = ({ method, path }: Pick<Operation, 'method' | 'path'>) => `${method} ${path}`;

/** The schema behind a reference. */
export function resolve(schema: Schema, schemas: Record<string, Schema>): Schema {
  return schema.$ref ? (schemas[schema.$ref.split('/').at(-1)!] ?? {}) : schema;
}
