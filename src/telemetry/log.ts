/** Structured log: JSON lines for machines, and one short line a person reads for what matters. */
import pino from 'pino';
import type { Clock, Log } from '../base/ports.ts';

type Fields = Readonly<Record<string, unknown>>;

/**
 * A log of JSON lines. `destination` is a path or an open file number; lines are written before the call returns, so
 * the last words of a dying process are there. Use `name` for the part of the system that speaks.
 */
export function jsonLog(destination: string | number, name: string): Log {
  const logger = pino(
    {
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destinationOf(destination),
  );
  return {
    info: (message, fields) => {
      logger.info(fields ?? {}, message);
    },
    warn: (message, fields) => {
      logger.warn(fields ?? {}, message);
    },
    error: (message, fields) => {
      logger.error(fields ?? {}, message);
    },
  };
}

/** A log that cannot be written (a full disk) loses lines; it never ends the process that speaks. */
function destinationOf(destination: string | number): pino.DestinationStream {
  const stream = pino.destination({ dest: destination, sync: true, mode: 0o600 });
  stream.on('error', () => undefined);
  return stream;
}

/** The same events for a person at a terminal: time of day and the message; fields stay in the structured log. */
export function humanLog(clock: Clock, write: (text: string) => void): Log {
  const line = (prefix: string, message: string): void => {
    const time = new Date(clock.wallMs()).toTimeString().slice(0, 8);
    write(`${time} ${prefix}${message}\n`);
  };
  return {
    info: (message) => {
      line('', message);
    },
    warn: (message) => {
      line('warning: ', message);
    },
    error: (message) => {
      line('error: ', message);
    },
  };
}

/** Sends every event to both logs. */
export function bothLogs(first: Log, second: Log): Log {
  const both =
    (level: keyof Log) =>
    (message: string, fields?: Fields): void => {
      first[level](message, fields);
      second[level](message, fields);
    };
  return { info: both('info'), warn: both('warn'), error: both('error') };
}
