import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Recorded = {
  readonly verb: string;
  readonly body: string;
  readonly status: number;
  readonly answer: string;
};

async function textOf(stream: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Between a scheduler and an extender: hands on what is asked and answered, and keeps it. */
export class Recorder {
  readonly calls: Recorded[] = [];
  readonly #server: Server;
  readonly #to: number;

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#to = to;
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
    const body = await textOf(asked);
    const verb = (asked.url ?? '').slice(1);
    const headers = { 'content-type': asked.headers['content-type'] ?? '', 'content-length': Buffer.byteLength(body) };
    const on = request({ host: '127.0.0.1', port: this.#to, path: `/${verb}`, method: 'POST', headers });
    on.once('error', () => response.destroy());
    on.once('response', async (answered) => {
      const answer = await textOf(answered);
      this.calls.push({ verb, body, status: answered.statusCode ?? 0, answer });
      response.writeHead(answered.statusCode ?? 0, { 'content-type': 'application/json' }).end(answer);
    });
    on.end(body);
  }
}
