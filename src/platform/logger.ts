import type { LoggerService } from '@nestjs/common';
import { type Logger, pino } from 'pino';
import type { Config } from './config.js';

/** The log of a process: JSON lines, or plain lines for people. Bodies and keys are never in it. */
export function createLogger({ log }: Pick<Config, 'log'>, name: string): Logger {
  const text = log.format === 'text' || (log.format === 'auto' && process.stderr.isTTY);
  const options = { name, level: log.level, redact: ['authorization', '*.authorization', 'url', '*.password'] };
  if (!text) return pino(options, pino.destination({ dest: 2, sync: true }));
  return pino(options, { write: (line: string) => process.stderr.write(plainLine(line)) });
}

const LEVELS: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

function plainLine(line: string): string {
  const { level, time, name, msg, pid: _pid, hostname: _hostname, err, ...rest } = JSON.parse(line);
  const extra = Object.entries(rest)
    .map(([key, value]) => ` ${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join('');
  const stack = err?.stack ? `\n${err.stack}` : '';
  return `${new Date(time).toISOString().slice(11, 23)} ${LEVELS[level]} ${name}: ${msg}${extra}${stack}\n`;
}

/** Nest's own messages in the same log; what it says about its start is for debugging. */
export function nestLogger(log: Logger): LoggerService {
  const text = (message: unknown) => (typeof message === 'string' ? message : JSON.stringify(message));
  return {
    log: (message) => log.debug(text(message)),
    debug: (message) => log.debug(text(message)),
    verbose: (message) => log.trace(text(message)),
    warn: (message) => log.warn(text(message)),
    error: (message, stack) => log.error({ stack }, text(message)),
    fatal: (message) => log.fatal(text(message)),
  };
}
