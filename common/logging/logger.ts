import winston from 'winston';
import { loggable } from './loggable.ts';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Readonly<Record<string, unknown>>;

/** One event per call; ids and figures go into fields, not into the message. */
export type Logger = {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** The same log with fields of its own on every line, e.g. `{ component: 'store' }`. */
  child(fields: LogFields): Logger;
  isEnabled(level: LogLevel): boolean;
};

export type LoggerOptions = {
  readonly level?: LogLevel;
  /** Fields on every line: at least the binary's name. */
  readonly fields?: LogFields;
  /** Where lines go; stderr, as standard output belongs to answers. */
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
};

const asJson = winston.format.printf(({ timestamp, level, message, ...fields }) =>
  JSON.stringify({ time: timestamp, level, message, ...(loggable(fields) as LogFields) }),
);

const asText = winston.format.printf(({ timestamp, level, message, ...fields }) => {
  const pairs = Object.entries(loggable(fields) as LogFields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [String(timestamp).slice(11, 23), level.padEnd(5), String(message), ...pairs].join(' ');
});

/** JSON lines, or text when the stream is a terminal. Values of fields named like secrets are never written. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const stream = options.stream ?? process.stderr;
  return adapt(
    winston.createLogger({
      level: options.level ?? 'info',
      levels: { error: 0, warn: 1, info: 2, debug: 3 },
      defaultMeta: { ...options.fields },
      format: winston.format.combine(winston.format.timestamp(), stream.isTTY === true ? asText : asJson),
      transports: [new winston.transports.Stream({ stream })],
    }),
  );
}

function adapt(logger: winston.Logger): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      // winston would take `message` and `level` out of the fields and splice them into the line.
      logger.log({ ...fields, level, message });
    };
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (fields) => adapt(logger.child({ ...fields })),
    isEnabled: (level) => logger.isLevelEnabled(level),
  };
}

/** For tests and for libraries used without a log. */
export const silentLogger: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => silentLogger,
  isEnabled: () => false,
};
