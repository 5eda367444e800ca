import { ApiKeys, LOCAL_OWNER, SCOPES, type Scope } from '../http/auth/api-keys.js';
import { loadConfig } from '../platform/config.js';
import { startServices } from '../platform/embedded/services.js';
import { AdderError, quote } from '../platform/errors.js';
import { Database } from '../store/database.js';
import { type Command, parseCommandLine } from './command.js';

const help = `usage: adder key NAME [options]

Creates an API key in the database that the environment names (DATABASE_URL, or the embedded one of ADDER_DATA_DIR)
and prints it once. A service that shall listen to the network needs one before its first start; further keys can also
be made with POST /v1/keys.

  --owner ACCOUNT   account that the key belongs to (${LOCAL_OWNER})
  --scopes A,B      what it may do: ${SCOPES.join(', ')} (all)
`;

const OPTIONS = { owner: { type: 'string' }, scopes: { type: 'string' } } as const;

const bad = (message: string, fix: string) => new AdderError({ code: 'BAD_OPTION', message, fix });

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseCommandLine('key', args, OPTIONS, 1);
  const [name] = positionals;
  if (name === undefined || name.length > 128) throw bad('a key needs a name of 1 to 128 characters', 'adder key ops');
  const owner = (values.owner as string | undefined) ?? LOCAL_OWNER;
  if (!/^[A-Za-z0-9_.@-]{1,64}$/.test(owner)) {
    throw bad(`${quote(owner)} cannot be an account`, 'use 1 to 64 letters, digits, _ . @ or -');
  }
  const scopes = (values.scopes as string | undefined)?.split(',') ?? [...SCOPES];
  const unknown = scopes.find((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown !== undefined) throw bad(`there is no scope ${quote(unknown)}`, `use ${SCOPES.join(', ')}`);

  // A key lies in the database; queues are of no concern here.
  const services = await startServices({ ...loadConfig(), queue: 'postgres' });
  try {
    const database = await Database.open({ url: services.databaseUrl, poolSize: 1 });
    try {
      const { token } = await new ApiKeys(database).create(owner, { name, scopes: scopes as Scope[] });
      process.stdout.write(`${token}\n`);
    } finally {
      await database.close();
    }
  } finally {
    await services.close();
  }
  return 0;
}

export default { help, run } satisfies Command;
