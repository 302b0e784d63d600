import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Recorded = {
  readonly verb: string;
  readonly body: string;
  readonly status: number;
  readonly answer: string;
};

/** What the scheduler gets in place of an answer. */
export type Meddler = (verb: string, honest: Answer) => Promise<Answer>;
type Answer = Pick<Recorded, 'status' | 'answer'>;

async function textOf(stream: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Between a scheduler and an extender: hands on what is asked and answered, and keeps it. Where it meddles it hands on something else. */
export class Recorder {
  readonly calls: Recorded[] = [];
  readonly #server: Server;
  /** The port of the extender. */
  to: number;
  meddler: Meddler | undefined;
  /** Calls that the scheduler has given up, and how long it had waited for them together. */
  readonly givenUp = { count: 0, waitedMs: 0 };

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.to = to;
    server.on('request', (asked: IncomingMessage, response: ServerResponse) => void this.#pass(asked, response));
  }

  static async start(to: number): Promise<Recorder> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Recorder(server, to);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #pass(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const askedMs = performance.now();
    response.once('close', () => {
      if (response.writableFinished) return;
      this.givenUp.count++;
      this.givenUp.waitedMs += performance.now() - askedMs;
    });
    const body = await textOf(asked);
    const verb = (asked.url ?? '').slice(1);
    const headers = { 'content-type': asked.headers['content-type'] ?? '', 'content-length': Buffer.byteLength(body) };
    const on = request({ host: '127.0.0.1', port: this.to, path: `/${verb}`, method: 'POST', headers });
    on.once('error', () => response.destroy());
    response.once('close', () => on.destroy());
    on.once('response', async (answered) => {
      const honest = { status: answered.statusCode ?? 0, answer: await textOf(answered) };
      this.calls.push({ verb, body, ...honest });
      const { status, answer } = (await this.meddler?.(verb, honest)) ?? honest;
      response.writeHead(status, { 'content-type': 'application/json' }).end(answer);
    });
    on.end(body);
  }
}
