import type { FastifyReply, FastifyRequest } from 'fastify';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const START = Symbol('start');
type Timed = FastifyRequest & { [START]?: number };

/** What Prometheus reads at /metrics. Routes are labelled by their pattern, so that ids make no new series. */
export class HttpMetrics {
  readonly registry = new Registry();
  private readonly duration = new Histogram({
    name: 'adder_http_request_duration_seconds',
    help: 'Time from the first byte of a request to the end of its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [this.registry],
  });
  private readonly active = new Gauge({
    name: 'adder_http_requests_active',
    help: 'Requests that are being answered',
    registers: [this.registry],
  });
  private readonly forecastSeries = new Counter({
    name: 'adder_forecast_series_total',
    help: 'Series forecast through HTTP',
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'adder_' });
  }

  begin(request: FastifyRequest): void {
    (request as Timed)[START] = performance.now();
    this.active.inc();
  }

  /** Milliseconds that the request took. */
  end(request: FastifyRequest, reply: FastifyReply): number {
    const ms = performance.now() - ((request as Timed)[START] ?? performance.now());
    this.active.dec();
    const route = request.routeOptions.url ?? 'none';
    this.duration.observe({ method: request.method, route, status: String(reply.statusCode) }, ms / 1000);
    return Math.round(ms * 10) / 10;
  }

  countSeries(count: number): void {
    this.forecastSeries.inc(count);
  }
}
