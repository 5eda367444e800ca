import { createServer, type Server } from 'node:http';
import type { Registry } from 'prom-client';
import { AdderError } from '../platform/errors.js';

/** Answers `GET /metrics`, and nothing else: numbers only, no names of series or keys. */
export class MetricsServer {
  private constructor(
    private readonly server: Server,
    readonly address: string,
  ) {}

  /** Throws `METRICS_PORT` where the port cannot be listened on. */
  static async open(registry: Registry, host: string, port: number): Promise<MetricsServer> {
    const server = createServer((request, response) => {
      const path = request.url?.split('?', 1)[0];
      if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
        response.writeHead(404).end();
        return;
      }
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        () => response.writeHead(503, { 'retry-after': '5' }).end(),
      );
    });
    try {
      await new Promise<void>((done, fail) => {
        server.once('error', fail);
        server.listen(port, host, done);
      });
    } catch (cause) {
      throw new AdderError({
        code: 'METRICS_PORT',
        message: `the worker cannot serve its metrics: ${(cause as Error).message}`,
        where: { field: 'ADDER_WORKER_METRICS_PORT' },
        fix: 'choose a free port; workers of one machine need one each, or 0',
        cause,
      });
    }
    const { port: taken } = server.address() as { port: number };
    return new MetricsServer(server, `http://${host.includes(':') ? `[${host}]` : host}:${taken}`);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}
