import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { AdderError, toAdderError } from '../../../platform/errors.js';
import { wantedFields } from '../out/output-json.js';

const text = z.string().min(1).max(1024);

/** A topic filter: `+` is one level, `#` the rest. */
const filter = text.refine((topic) => {
  const levels = topic.split('/');
  return levels.every((level, i) => level === '+' || (level === '#' && i === levels.length - 1) || !/[+#]/.test(level));
}, 'expected a topic filter: + is a whole level, # the last one');

const series = text.meta({ description: 'name of the series; {topic}, {1}, {2}… (levels behind + and #), {field}' });

const mapping = z.discriminatedUnion('format', [
  z.strictObject({ topic: filter, format: z.literal('number'), series: series.default('{topic}') }),
  z.strictObject({
    topic: filter,
    format: z.literal('json'),
    series: series.default('{topic}.{field}'),
    values: z
      .record(text, text)
      .optional()
      .meta({ description: 'path of each value by the name of its field; without it every number of the message' }),
    time: text.optional().meta({ description: 'path of the time; without it the arrival' }),
    timeUnit: z.enum(['ms', 's']).default('ms'),
  }),
  z.strictObject({ topic: filter.default('spBv1.0/#'), format: z.literal('sparkplug') }),
]);
export type Mapping = z.output<typeof mapping>;

const publication = z.strictObject({
  ...wantedFields,
  topic: text
    .refine((topic) => !/[+#]/.test(topic), 'a topic to publish to has no wildcards')
    .default('adder/{type}/{series}'),
  qos: z.union([z.literal(0), z.literal(1)]).default(1),
  retain: z.boolean().default(false),
});
export type Publication = z.output<typeof publication>;

const connection = z
  .strictObject({
    name: z.string().regex(/^[\w.-]{1,64}$/, 'expected letters, digits, dots and dashes'),
    url: z.url({ protocol: /^(mqtts?|wss?)$/, error: 'expected mqtt://, mqtts://, ws:// or wss://' }),
    protocol: z.enum(['3.1.1', '5']).default('5'),
    username: z.string().max(1024).optional(),
    password: z.string().max(4096).optional(),
    passwordFile: text.optional(),
    ca: text.optional(),
    cert: text.optional(),
    key: text.optional(),
    clientId: text.optional(),
    owner: z.string().min(1).max(64).default('local'),
    share: z
      .string()
      .regex(/^[^/+#]{1,64}$/, 'expected a name without /, + and #')
      .optional()
      .meta({ description: 'all API processes take part and the broker deals the messages out' }),
    subscribe: z.array(mapping).max(100).default([]),
    publish: z.array(publication).max(100).default([]),
  })
  .refine(({ share, publish }) => share === undefined || publish.length === 0, {
    message: 'a shared connection does not publish; add a second one for it',
    path: ['publish'],
  })
  .refine(({ share, subscribe }) => share === undefined || subscribe.every(({ format }) => format !== 'sparkplug'), {
    message: 'Sparkplug needs every message of an edge node in one place',
    path: ['share'],
  });
export type MqttConnection = z.output<typeof connection>;

const file = z
  .strictObject({ connections: z.array(connection).min(1).max(50) })
  .refine(({ connections }) => new Set(connections.map(({ name }) => name)).size === connections.length, {
    message: 'two connections have the same name',
    path: ['connections'],
  });

/** The connections of a configuration file. Throws `BAD_CONFIGURATION` that names the file and the field. */
export function readMqttFile(path: string): MqttConnection[] {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw toAdderError(error, { file: path, field: 'ADDER_MQTT_FILE' });
    throw wrong(path, undefined, error.message);
  }
  const parsed = file.safeParse(content);
  if (parsed.success) return parsed.data.connections;
  const issue = parsed.error.issues[0]!;
  throw wrong(path, issue.path.map(String).join('.'), issue.message);
}

const wrong = (path: string, field: string | undefined, message: string) =>
  new AdderError({
    code: 'BAD_CONFIGURATION',
    message,
    where: { file: path, ...(field ? { field } : {}) },
    fix: 'correct the file of ADDER_MQTT_FILE; docs/live-doors.md lists its fields',
  });
