import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a scheduler asked about one pod, and what it was told. */
export type Offer = {
  readonly podUid: string;
  readonly podName: string;
  /** Nodes that the scheduler would take. */
  readonly candidates: readonly string[];
  /** Those of them that the extender would take as well. */
  readonly passed: readonly string[];
};

type FilterArgs = {
  readonly Pod: { readonly metadata: { readonly uid: string; readonly name: string } };
  readonly NodeNames: readonly string[] | null;
};
type FilterResult = { readonly NodeNames?: readonly string[] | null };

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** Between a scheduler and an extender: hands on what is asked and answered, and keeps what was offered, in order. */
export class Offers {
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #to: number;
  readonly #filters: (readonly [asked: Buffer, answered: Buffer])[] = [];
  /** Calls of any verb. */
  calls = 0;

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#to = to;
    server.on('request', (asked: IncomingMessage, response: ServerResponse) => {
      this.#pass(asked, response).catch(() => response.destroy());
    });
  }

  static async start(to: number): Promise<Offers> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Offers(server, to);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** In the order of asking, answered ones alone. They are only read now: meanwhile the scheduler waits. */
  list(): readonly Offer[] {
    return this.#filters.map(([asked, answered]) => {
      const { Pod, NodeNames } = JSON.parse(asked.toString()) as FilterArgs;
      const result = JSON.parse(answered.toString()) as FilterResult;
      const { uid: podUid, name: podName } = Pod.metadata;
      return { podUid, podName, candidates: NodeNames ?? [], passed: result.NodeNames ?? [] };
    });
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await once(this.#server, 'close');
  }

  async #pass(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    this.calls++;
    const body = await bytesOf(asked);
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const path = asked.url ?? '/';
    const on = request({ host: '127.0.0.1', port: this.#to, path, method: 'POST', headers, agent: this.#agent });
    on.end(body);
    const [answer] = (await once(on, 'response')) as [IncomingMessage];
    const text = await bytesOf(answer);
    const status = answer.statusCode ?? 0;
    if (path === '/filter' && status === 200) this.#filters.push([body, text]);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': text.length }).end(text);
  }
}
