import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';

const CONCURRENCY = 32;
const TIMEOUT_MS = 60_000;

type Answer = { readonly status: number; readonly text: string };

async function textOf(stream: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** An API server for tests that make thousands of objects: a few connections that stay open, JSON as it is. */
export class KubeApi {
  readonly #server: URL;
  readonly #agent: Agent;

  private constructor(server: URL, agent: Agent) {
    this.#server = server;
    this.#agent = agent;
  }

  static open(kubeconfig: string): KubeApi {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const decoded = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64');
    const cluster = config.getCurrentCluster();
    const user = config.getCurrentUser();
    const agent = new Agent({
      keepAlive: true,
      maxSockets: CONCURRENCY,
      ca: decoded(cluster?.caData),
      cert: decoded(user?.certData),
      key: decoded(user?.keyData),
    });
    return new KubeApi(new URL(cluster?.server ?? ''), agent);
  }

  close(): void {
    this.#agent.destroy();
  }

  get(path: string): Promise<unknown> {
    return this.#call('GET', path);
  }

  /** POST: the object as it is afterwards. */
  create(path: string, object: unknown): Promise<unknown> {
    return this.#call('POST', path, object);
  }

  replace(path: string, object: unknown): Promise<unknown> {
    return this.#call('PUT', path, object);
  }

  /** A merge patch. */
  merge(path: string, patch: unknown): Promise<unknown> {
    return this.#call('PATCH', path, patch);
  }

  remove(path: string): Promise<unknown> {
    return this.#call('DELETE', path);
  }

  /** Many at a time, in their order: [path, object] each. */
  async createAll(objects: readonly (readonly [path: string, object: unknown])[]): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let at = next++; at < objects.length; at = next++) {
        const [path, object] = objects[at] ?? ['', undefined];
        await this.create(path, object);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  }

  /** All objects at a path, page by page. */
  async list(path: string): Promise<readonly unknown[]> {
    const items: unknown[] = [];
    let proceed = '';
    do {
      const query = `limit=1000${proceed === '' ? '' : `&continue=${encodeURIComponent(proceed)}`}`;
      const page = (await this.get(`${path}${path.includes('?') ? '&' : '?'}${query}`)) as {
        readonly items: readonly unknown[];
        readonly metadata?: { readonly continue?: string };
      };
      items.push(...page.items);
      proceed = page.metadata?.continue ?? '';
    } while (proceed !== '');
    return items;
  }

  /**
   * Events of a watch from `resourceVersion` on, each as it comes, until the signal or the server ends it.
   */
  async watch(
    path: string,
    resourceVersion: string,
    signal: AbortSignal,
    hear: (type: string, object: unknown) => void,
  ): Promise<void> {
    const query = `watch=1&resourceVersion=${resourceVersion}`;
    const asked = request(this.#options('GET', `${path}${path.includes('?') ? '&' : '?'}${query}`, { signal }));
    asked.end();
    try {
      const [response] = (await once(asked, 'response', { signal })) as [IncomingMessage];
      let rest = '';
      for await (const part of response.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = `${rest}${part}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: unknown };
          hear(type, object);
        }
      }
    } catch (err) {
      if (!signal.aborted) throw err;
    }
  }

  #options(method: string, path: string, more: object = {}): object {
    const { hostname, port } = this.#server;
    return { method, host: hostname, port, path, agent: this.#agent, ...more };
  }

  async #call(method: string, path: string, object?: unknown): Promise<unknown> {
    const body = object === undefined ? '' : JSON.stringify(object);
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const headers = { accept: 'application/json', 'content-type': type, 'content-length': Buffer.byteLength(body) };
    const asked = request(this.#options(method, path, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }));
    const answered = new Promise<Answer>((resolve, reject) => {
      asked.once('error', reject);
      asked.once('response', (response) => {
        textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
      });
    });
    asked.end(body);
    const { status, text } = await answered;
    if (status >= 300) throw new Error(`${method} ${path} answers ${status}: ${text.slice(0, 500)}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}
