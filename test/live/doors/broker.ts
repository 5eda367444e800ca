import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { until } from '../../service/support/processes.js';

/** Debian puts servers where users do not look. */
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A mosquitto broker of its own, which keeps sessions and messages when it is started again. */
export class Broker {
  private child: ChildProcess | undefined;
  private constructor(
    readonly port: number,
    private readonly config: string,
  ) {}

  static async start(folder: string): Promise<Broker> {
    const port = await freePort();
    const data = join(folder, 'mosquitto');
    mkdirSync(data, { recursive: true });
    chmodSync(data, 0o777);
    const config = join(folder, 'mosquitto.conf');
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence true',
      `persistence_location ${data}/`,
      'max_queued_messages 100000',
      'log_type none',
      ...(process.getuid?.() === 0 ? ['user root'] : []),
    ];
    writeFileSync(config, `${lines.join('\n')}\n`);
    const broker = new Broker(port, config);
    await broker.run();
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async run(): Promise<void> {
    this.child = spawn('mosquitto', ['-c', this.config], { stdio: 'ignore', env: { ...process.env, PATH } });
    let failure: Error | undefined;
    this.child.once('error', (error) => {
      failure = error;
    });
    await until(async () => {
      if (failure) throw failure;
      const socket = connect(this.port, '127.0.0.1');
      const open = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'close').then(() => false),
      ]).catch(() => false);
      socket.destroy();
      return open;
    });
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** Sends a message with mosquitto_pub, as devices and scripts do. */
  send(topic: string, message: string | Buffer, options: string[] = []): void {
    const { status, stderr } = spawnSync(
      'mosquitto_pub',
      [
        '-h',
        '127.0.0.1',
        '-p',
        String(this.port),
        '-t',
        topic,
        ...(message.length === 0 ? ['-n'] : ['-s']),
        ...options,
      ],
      {
        input: message,
        env: { ...process.env, PATH },
      },
    );
    if (status !== 0) throw new Error(`mosquitto_pub: ${stderr}`);
  }

  /** Sends each line as a message of its own. */
  sendLines(topic: string, lines: readonly string[], options: string[] = []): void {
    const { status, stderr } = spawnSync(
      'mosquitto_pub',
      ['-h', '127.0.0.1', '-p', String(this.port), '-t', topic, '-l', ...options],
      {
        input: `${lines.join('\n')}\n`,
        env: { ...process.env, PATH },
      },
    );
    if (status !== 0) throw new Error(`mosquitto_pub: ${stderr}`);
  }

  /** A mosquitto_pub that stays: each line is a message. */
  publisher(topic: string, options: string[] = []): { say(line: string): void; end(): void } {
    const child = spawn('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(this.port), '-t', topic, '-l', ...options], {
      stdio: ['pipe', 'ignore', 'inherit'],
      env: { ...process.env, PATH },
    });
    return { say: (line) => child.stdin.write(`${line}\n`), end: () => child.stdin.end() };
  }

  /** Listens with mosquitto_sub; the messages so far are in `heard`. */
  listen(topic: string): { heard: { topic: string; payload: Buffer }[]; stop(): void } {
    const heard: { topic: string; payload: Buffer }[] = [];
    const child = spawn('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(this.port), '-t', topic, '-F', '%t %x'], {
      env: { ...process.env, PATH },
    });
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const at = line.lastIndexOf(' ');
        heard.push({ topic: line.slice(0, at), payload: Buffer.from(line.slice(at + 1), 'hex') });
      }
    });
    return { heard, stop: () => child.kill() };
  }
}
