-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "output" BYTEA,
ADD COLUMN     "payload" BYTEA;
