/**
 * Writes the migration that leads from the committed ones to schema.prisma:
 *
 *   node prisma/author.mjs add_alerts
 *   node prisma/author.mjs --check      (exit 1 if a migration is missing)
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrationsFolder, pendingSql } from './engine.mjs';

const [name] = process.argv.slice(2);
const sql = await pendingSql();
if (name === '--check') {
  if (sql) process.stderr.write(`schema.prisma is ahead of the migrations:\n${sql}\n`);
  process.exit(sql ? 1 : 0);
}
if (!/^[a-z][a-z0-9_]*$/.test(name ?? '')) {
  process.stderr.write('usage: node prisma/author.mjs NAME   (lower case, digits, underscores)\n');
  process.exit(2);
}
if (!sql) {
  process.stdout.write('nothing to do: the migrations lead to schema.prisma\n');
  process.exit(0);
}
const stamp = new Date().toISOString().replace(/\D/g, '').slice(0, 14);
const folder = join(migrationsFolder, `${stamp}_${name}`);
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'migration.sql'), sql);
process.stdout.write(`${join(folder, 'migration.sql')}\n`);
process.exit(0);
