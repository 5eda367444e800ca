/** The SQL that leads from the committed migrations to schema.prisma; empty when they agree. */
export function pendingSql(): Promise<string>;
/** What the official engine would still do to a database. */
export function diagnose(adapter: unknown): Promise<{
  failedMigrationNames: string[];
  editedMigrationNames: string[];
  hasMigrationsTable: boolean;
  history: unknown;
}>;
