import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { InferenceClient } from './inference/client.js';
import type { Queues } from './queues.js';
import type { RunOutcome } from './run.js';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** What a worker process counts, for Prometheus. */
export class JobMetrics {
  readonly registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'adder_' });
  }

  private readonly runs = new Counter({
    name: 'adder_job_runs_total',
    help: 'Runs of jobs that ended, by how',
    labelNames: ['kind', 'outcome'],
    registers: [this.registry],
  });
  private readonly seconds = new Histogram({
    name: 'adder_job_run_seconds',
    help: 'Time that a run took',
    labelNames: ['kind'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  private readonly restored = new Counter({
    name: 'adder_jobs_restored_total',
    help: 'Jobs that the queue had lost and that were queued again',
    registers: [this.registry],
  });
  private readonly batches = new Histogram({
    name: 'adder_inference_batch_series',
    help: 'Series that shared an inference batch',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
    registers: [this.registry],
  });
  private readonly computing = new Histogram({
    name: 'adder_inference_batch_seconds',
    help: 'Time that an inference batch took, the way to its process included',
    buckets: SECONDS,
    registers: [this.registry],
  });
  private readonly waiting = new Histogram({
    name: 'adder_inference_wait_seconds',
    help: 'Time that the first request of a batch waited for it',
    buckets: SECONDS,
    registers: [this.registry],
  });
  private readonly restarts = new Counter({
    name: 'adder_inference_restarts_total',
    help: 'Times that the inference process ended without being asked to',
    registers: [this.registry],
  });

  ran = ({ kind, outcome, ms }: { kind: string; outcome: RunOutcome; ms: number }): void => {
    this.runs.inc({ kind, outcome: outcome.status });
    this.seconds.observe({ kind }, ms / 1000);
  };

  batched = ({ size, waitMs, computeMs }: { size: number; waitMs: number; computeMs: number }): void => {
    this.batches.observe(size);
    this.waiting.observe(waitMs / 1000);
    this.computing.observe(computeMs / 1000);
  };

  restarted = (): void => this.restarts.inc();

  queuedAgain = (count: number): void => this.restored.inc(count);

  /** Gauges that are read when Prometheus asks. */
  watch(queues: Queues, inference: InferenceClient): void {
    new Gauge({
      name: 'adder_inference_series',
      help: 'Series that wait for inference, and series that are being computed',
      labelNames: ['state'],
      registers: [this.registry],
      collect() {
        const { waiting, computing } = inference.load;
        this.set({ state: 'waiting' }, waiting);
        this.set({ state: 'computing' }, computing);
      },
    });
    new Gauge({
      name: 'adder_queue_jobs',
      help: 'Jobs of a queue by state',
      labelNames: ['queue', 'state'],
      registers: [this.registry],
      async collect() {
        for (const [queue, states] of Object.entries(await queues.counts())) {
          for (const [state, count] of Object.entries(states)) this.set({ queue, state }, count);
        }
      },
    });
  }
}
