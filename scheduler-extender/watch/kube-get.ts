import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { NabuError } from '../../common/errors/index.ts';

const CONNECTIONS = 4;

/** One page of a list has to fit; of 500 pods that is 5 MB. */
const ANSWER_LIMIT_BYTES = 256 << 20;

/** GETs of the API server as plain JSON: lists are read page by page and cut down before the next page is asked for. */
export class KubeGet {
  readonly #config: KubeConfig;
  readonly #server: string;
  readonly #agent: HttpAgent;
  readonly #isPlain: boolean;

  /** Throws CONFIG_INVALID where the kubeconfig names no cluster. */
  constructor(config: KubeConfig) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined)
      throw NabuError.of('CONFIG_INVALID', { source: 'kubeconfig', reason: 'its current context names no cluster' });
    this.#config = config;
    this.#server = server.replace(/\/+$/, '');
    this.#isPlain = this.#server.startsWith('http:');
    const options = { keepAlive: true, maxSockets: CONNECTIONS };
    this.#agent = this.#isPlain ? new HttpAgent(options) : new HttpsAgent(options);
  }

  /** Throws KUBE_NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, PROTOCOL_ERROR. */
  async get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<unknown> {
    const url = `${this.#server}${path}?${new URLSearchParams(query)}`;
    const options: RequestOptions = { headers: { accept: 'application/json' } };
    await this.#config.applyToHTTPSOptions(options);
    const answer = await this.#send(url, { ...options, agent: this.#agent, signal }, path);
    const text = await this.#text(answer, path);
    if (answer.statusCode === 200) return parsed(text, path);
    const reason = `status ${answer.statusCode}`;
    if (answer.statusCode === 404) throw NabuError.of('KUBE_NOT_FOUND', { operation: `GET ${path}`, reason });
    if (answer.statusCode === 401 || answer.statusCode === 403)
      throw NabuError.of('PERMISSION_DENIED', { operation: `GET ${path}`, reason });
    throw NabuError.of('UNAVAILABLE', { target: `${path} of the API server`, reason });
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(url: string, options: RequestOptions, path: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = (this.#isPlain ? httpRequest : httpsRequest)(url, options, resolve);
      request.on('error', (err) => reject(failure(path, err)));
      request.end();
    });
  }

  async #text(answer: IncomingMessage, path: string): Promise<string> {
    const parts: Buffer[] = [];
    let sizeBytes = 0;
    try {
      for await (const part of answer as AsyncIterable<Buffer>) {
        sizeBytes += part.length;
        if (sizeBytes > ANSWER_LIMIT_BYTES)
          throw NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes, limitBytes: ANSWER_LIMIT_BYTES });
        parts.push(part);
      }
    } catch (err) {
      throw failure(path, err);
    }
    return Buffer.concat(parts).toString('utf8');
  }
}

function failure(path: string, err: unknown): NabuError {
  if (NabuError.is(err)) return err;
  const code: unknown = Reflect.get(Object(err), 'code');
  const reason = typeof code === 'string' ? code : 'the connection failed';
  return NabuError.of('UNAVAILABLE', { target: `${path} of the API server`, reason }, { cause: err });
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (err) {
    const reason = `no JSON for ${path}`;
    throw NabuError.of('PROTOCOL_ERROR', { peer: 'the API server', reason }, { cause: err });
  }
}
