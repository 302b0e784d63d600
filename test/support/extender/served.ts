import { type Agent, request as httpRequest } from 'node:http';
import { silentLogger } from '../../../common/logging/index.ts';
import { type Clock, realClock } from '../../../common/ports/index.ts';
import type { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import { DEFAULT_RULES, Extender } from '../../../scheduler-extender/decide/index.ts';
import { ReservationKeeper, Reservations } from '../../../scheduler-extender/reservations/index.ts';
import {
  ExtenderMetrics,
  ExtenderServer,
  type ServerLimits,
  type TlsFiles,
} from '../../../scheduler-extender/server/index.ts';

export const LIMITS: ServerLimits = {
  bodyBytes: 64 << 20,
  totalBytes: 256 << 20,
  timeoutMs: 10_000,
  answerWithinMs: 10_000,
  connections: 256,
};

export type ServedOptions = {
  readonly limits?: Partial<ServerLimits>;
  readonly tls?: TlsFiles;
  readonly clientNames?: readonly string[];
  readonly unready?: () => string | undefined;
  readonly clock?: Clock;
};

/** An extender over an index that the test tells things to, on a port of its own. */
export class Served {
  readonly port: number;
  readonly reservations: Reservations;
  readonly #server: ExtenderServer;
  readonly #keeper: ReservationKeeper;

  private constructor(port: number, server: ExtenderServer, reservations: Reservations, keeper: ReservationKeeper) {
    this.port = port;
    this.#server = server;
    this.reservations = reservations;
    this.#keeper = keeper;
  }

  static async start(index: ClusterIndex, options: ServedOptions = {}): Promise<Served> {
    const { limits = {}, tls, clientNames = [], unready = () => undefined, clock = realClock } = options;
    const reservations = new Reservations(clock);
    const keeper = new ReservationKeeper(index, reservations, DEFAULT_RULES.need);
    const server = new ExtenderServer({
      extender: new Extender({ index, reservations, rules: DEFAULT_RULES }),
      metrics: new ExtenderMetrics({ index, reservations, unready }),
      unready,
      refuses: unready,
      limits: { ...LIMITS, ...limits },
      tls,
      clientNames,
      clock,
      logger: silentLogger,
    });
    const { port } = await server.start({ host: '127.0.0.1', port: 0 });
    return new Served(port, server, reservations, keeper);
  }

  async close(): Promise<void> {
    this.#keeper.close();
    await this.#server.close();
  }
}

export type HttpAnswer = { readonly status: number; readonly text: string };

export type PostOptions = { readonly agent?: Agent; readonly contentType?: string; readonly chunked?: boolean };

/** One POST; rejects where the connection ends without an answer. */
export function post(
  port: number,
  path: string,
  body: Buffer | string,
  options: PostOptions = {},
): Promise<HttpAnswer> {
  const { agent, contentType = 'application/json', chunked = false } = options;
  const length = chunked ? {} : { 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method: 'POST',
        headers: { 'content-type': contentType, ...length },
        ...(agent === undefined ? {} : { agent }),
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        );
      },
    );
    request.once('error', reject);
    request.end(body);
  });
}

export function get(port: number, path: string): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.once('error', reject);
    request.end();
  });
}
