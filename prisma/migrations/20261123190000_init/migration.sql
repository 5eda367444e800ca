-- CreateEnum
CREATE TYPE "job_status" AS ENUM ('queued', 'running', 'succeeded', 'failed', 'cancelled');

-- CreateTable
CREATE TABLE "api_keys" (
    "id" UUID NOT NULL,
    "owner" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "scopes" TEXT[],
    "limits" JSONB NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

-- CreateTable
-- Unlogged: written with every few requests and worth nothing after a crash.
CREATE UNLOGGED TABLE "rate_buckets" (
    "key_id" UUID NOT NULL,
    "tokens" DOUBLE PRECISION NOT NULL,
    "updated_at" TIMESTAMPTZ(6) NOT NULL,

    CONSTRAINT "rate_buckets_pkey" PRIMARY KEY ("key_id")
);

-- CreateTable
CREATE TABLE "series" (
    "id" BIGSERIAL NOT NULL,
    "owner" TEXT NOT NULL,
    "unique_id" TEXT NOT NULL,
    "freq" TEXT,
    "season" INTEGER,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "series_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "points" (
    "series_id" BIGINT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "value" DOUBLE PRECISION,

    CONSTRAINT "points_pkey" PRIMARY KEY ("series_id","at")
);

-- CreateTable
CREATE TABLE "deleted_series" (
    "id" BIGINT NOT NULL,
    "owner" TEXT NOT NULL,
    "deleted_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "deleted_series_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "stream_positions" (
    "owner" TEXT NOT NULL,
    "stream" TEXT NOT NULL,
    "sequence" BIGINT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "stream_positions_pkey" PRIMARY KEY ("owner","stream")
);

-- CreateTable
CREATE TABLE "jobs" (
    "id" UUID NOT NULL,
    "owner" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "queue" TEXT NOT NULL,
    "status" "job_status" NOT NULL DEFAULT 'queued',
    "data" JSONB NOT NULL,
    "priority" INTEGER NOT NULL,
    "dedup_key" TEXT,
    "parent_id" UUID,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "max_attempts" INTEGER NOT NULL,
    "deadline" TIMESTAMPTZ(3),
    "progress" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "note" TEXT,
    "result" JSONB,
    "error" JSONB,
    "cancel_requested_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "touched_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "results" (
    "job_id" UUID NOT NULL,
    "series_key" TEXT NOT NULL,
    "window" INTEGER NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "owner" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "series_id" BIGINT,
    "cutoff" TIMESTAMPTZ(3),
    "meta" JSONB NOT NULL DEFAULT '{}',
    "columns" BYTEA NOT NULL,

    CONSTRAINT "results_pkey" PRIMARY KEY ("job_id","series_key","window")
);

-- CreateTable
CREATE TABLE "states" (
    "series_id" BIGINT NOT NULL,
    "model_id" TEXT NOT NULL,
    "owner" TEXT NOT NULL,
    "weights_digest" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "position" BIGINT NOT NULL,
    "last_at" TIMESTAMPTZ(3),
    "sequence" BIGINT NOT NULL DEFAULT 0,
    "bytes" BYTEA NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "dirty" BOOLEAN NOT NULL DEFAULT false,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "states_pkey" PRIMARY KEY ("series_id","model_id")
);

-- CreateTable
CREATE TABLE "models" (
    "owner" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "base" TEXT NOT NULL,
    "digest" TEXT NOT NULL,
    "object_id" UUID NOT NULL,
    "card" JSONB NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "models_pkey" PRIMARY KEY ("owner","id")
);

-- CreateTable
CREATE TABLE "objects" (
    "id" UUID NOT NULL,
    "owner" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "size" BIGINT NOT NULL,
    "meta" JSONB NOT NULL DEFAULT '{}',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),

    CONSTRAINT "objects_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "object_chunks" (
    "object_id" UUID NOT NULL,
    "index" INTEGER NOT NULL,
    "bytes" BYTEA NOT NULL,

    CONSTRAINT "object_chunks_pkey" PRIMARY KEY ("object_id","index")
);

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_prefix_key" ON "api_keys"("prefix");

-- CreateIndex
CREATE INDEX "api_keys_owner_idx" ON "api_keys"("owner");

-- CreateIndex
CREATE UNIQUE INDEX "series_owner_unique_id_key" ON "series"("owner", "unique_id");

-- CreateIndex
CREATE INDEX "jobs_owner_created_at_id_idx" ON "jobs"("owner", "created_at" DESC, "id");

-- CreateIndex
CREATE INDEX "jobs_status_touched_at_idx" ON "jobs"("status", "touched_at");

-- CreateIndex
CREATE INDEX "jobs_parent_id_idx" ON "jobs"("parent_id");

-- CreateIndex
CREATE INDEX "jobs_finished_at_idx" ON "jobs"("finished_at");

-- CreateIndex
CREATE UNIQUE INDEX "jobs_owner_kind_dedup_key_key" ON "jobs"("owner", "kind", "dedup_key");

-- CreateIndex
CREATE INDEX "results_job_id_ordinal_window_idx" ON "results"("job_id", "ordinal", "window");

-- CreateIndex
CREATE INDEX "results_series_id_idx" ON "results"("series_id");

-- CreateIndex
CREATE INDEX "states_owner_idx" ON "states"("owner");

-- CreateIndex
CREATE INDEX "states_dirty_idx" ON "states"("dirty");

-- CreateIndex
CREATE INDEX "models_object_id_idx" ON "models"("object_id");

-- CreateIndex
CREATE INDEX "objects_owner_idx" ON "objects"("owner");

-- CreateIndex
CREATE INDEX "objects_expires_at_idx" ON "objects"("expires_at");

-- AddForeignKey
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_parent_id_fkey" FOREIGN KEY ("parent_id") REFERENCES "jobs"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "results" ADD CONSTRAINT "results_job_id_fkey" FOREIGN KEY ("job_id") REFERENCES "jobs"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "results" ADD CONSTRAINT "results_series_id_fkey" FOREIGN KEY ("series_id") REFERENCES "series"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "states" ADD CONSTRAINT "states_series_id_fkey" FOREIGN KEY ("series_id") REFERENCES "series"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "models" ADD CONSTRAINT "models_object_id_fkey" FOREIGN KEY ("object_id") REFERENCES "objects"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "object_chunks" ADD CONSTRAINT "object_chunks_object_id_fkey" FOREIGN KEY ("object_id") REFERENCES "objects"("id") ON DELETE CASCADE ON UPDATE CASCADE;
