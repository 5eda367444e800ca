-- CreateTable
CREATE TABLE "live_heads" (
    "partition" INTEGER NOT NULL,
    "head" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "live_heads_pkey" PRIMARY KEY ("partition")
);

-- CreateTable
CREATE TABLE "live_log" (
    "partition" INTEGER NOT NULL,
    "seq" BIGINT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "bytes" BYTEA NOT NULL,

    CONSTRAINT "live_log_pkey" PRIMARY KEY ("partition","seq")
);

-- CreateTable
CREATE TABLE "live_partitions" (
    "partition" INTEGER NOT NULL,
    "holder" UUID,
    "epoch" BIGINT NOT NULL DEFAULT 0,
    "lease_until" TIMESTAMPTZ(3),
    "cursor" BIGINT NOT NULL DEFAULT 0,
    "touched_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "live_partitions_pkey" PRIMARY KEY ("partition")
);

-- CreateTable
CREATE TABLE "live_workers" (
    "id" UUID NOT NULL,
    "beat_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "live_workers_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "live_outputs" (
    "series_id" BIGINT NOT NULL,
    "owner" TEXT NOT NULL,
    "sequence" BIGINT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "bytes" BYTEA NOT NULL,

    CONSTRAINT "live_outputs_pkey" PRIMARY KEY ("series_id")
);

-- CreateTable
CREATE TABLE "live_demands" (
    "owner" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "ids" TEXT[],
    "prefix" TEXT,
    "horizon" INTEGER NOT NULL,
    "until" TIMESTAMPTZ(3),

    CONSTRAINT "live_demands_pkey" PRIMARY KEY ("owner","name")
);

-- AddForeignKey
ALTER TABLE "live_outputs" ADD CONSTRAINT "live_outputs_series_id_fkey" FOREIGN KEY ("series_id") REFERENCES "series"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- One row a partition, for as long as the database lives.
INSERT INTO "live_heads" ("partition") SELECT generate_series(0, 15);
INSERT INTO "live_partitions" ("partition") SELECT generate_series(0, 15);

-- Floating point numbers do not compress; trying costs more than storing them.
ALTER TABLE "states" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;
ALTER TABLE "live_log" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;
ALTER TABLE "live_outputs" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;

-- Rows that change all the time: room for their next version on the same page, and no index to touch.
ALTER TABLE "live_outputs" SET (fillfactor = 50);
ALTER TABLE "live_heads" SET (fillfactor = 10);
ALTER TABLE "live_partitions" SET (fillfactor = 10);
