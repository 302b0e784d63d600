import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { abortError, type Deadline, raceAbort, SingleFlight } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { KubeAccess } from './access.ts';
import { answerError } from './answer-error.ts';

export type KubeQuery = Readonly<Record<string, string | number | boolean>>;

export type KubeRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the server's address, '/apis/resource.k8s.io/v1/resourceslices'. */
  readonly path: string;
  readonly query?: KubeQuery;
  readonly body?: unknown;
  readonly deadline: Deadline;
};

/** A line of a watch, unparsed: the object is the caller's to check. */
export type WatchEvent = { readonly type: string; readonly object: unknown };

const ANSWER_LIMIT_BYTES = 16 << 20;
const CONNECTIONS = 8;
/** How long the API server lets a watch live, and how much later we give it up ourselves. */
const WATCH_SECONDS = 300;
const WATCH_GRACE_MS = 30_000;
/** A line is one object. */
const LINE_LIMIT_CHARS = 4 << 20;

/**
 * The API server as JSON over HTTP: what a node's plugin needs of it is ten calls, whose objects we have to see as they are
 * (the client library's models leave out fields that they do not know).
 */
export class KubeClient {
  readonly #access: () => Promise<KubeAccess>;
  /** Made at the first call that finds who is to ask. */
  #connection: Connection | undefined;
  /** Calls that come before that share one attempt: a second connection would never be closed. */
  readonly #connecting = new SingleFlight<'connection', Connection>();

  /** `access`: asked at the first call, and again at the next while it fails; its error is the call's. */
  constructor(access: () => Promise<KubeAccess>) {
    this.#access = access;
  }

  /**
   * The answer's JSON. Throws RESOURCE_CONFLICT for 409, KUBE_NOT_FOUND for 404, PERMISSION_DENIED for 401 and 403,
   * KUBE_REFUSED for what else the request is refused with, UNAVAILABLE where the server cannot be reached, is busy or
   * fails, and the deadline's error.
   */
  async call({ method, path, query, body, deadline }: KubeRequest): Promise<unknown> {
    const operation = `${method} ${path}`;
    deadline.throwIfExpired();
    const answer = await this.#send({ method, path, query, body }, deadline.signal, operation);
    const text = await wholeText(answer, deadline.signal, operation);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) throw answerError({ operation, status, text });
    return parsed(text, operation);
  }

  /**
   * What changes from a resource version on, until the server ends it (within minutes: call again) or the signal does.
   * Throws as `call` does; KUBE_REFUSED with status 410 means that the version is too old: list again.
   */
  async *watch(path: string, query: KubeQuery, signal: AbortSignal): AsyncGenerator<WatchEvent, void, undefined> {
    const operation = `watch of ${path}`;
    const whole = { ...query, watch: true, allowWatchBookmarks: true, timeoutSeconds: WATCH_SECONDS };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(WATCH_SECONDS * 1000 + WATCH_GRACE_MS)]);
    const answer = await this.#send({ method: 'GET', path, query: whole }, limit, operation);
    const status = answer.statusCode ?? 0;
    if (status !== 200) throw answerError({ operation, status, text: await wholeText(answer, limit, operation) });
    try {
      for await (const line of linesOf(answer, operation)) yield eventOf(line, operation);
    } catch (err) {
      throw failure(err, signal, operation);
    } finally {
      answer.destroy();
    }
  }

  close(): void {
    this.#connection?.agent.destroy();
    this.#connection = undefined;
  }

  async #connected(): Promise<Connection> {
    return (
      this.#connection ??
      (await this.#connecting.run('connection', async () => {
        const connection = connectionTo(await this.#access());
        this.#connection = connection;
        return connection;
      }))
    );
  }

  async #send(
    { method, path, query = {}, body }: Sent,
    signal: AbortSignal,
    operation: string,
  ): Promise<IncomingMessage> {
    const { access, agent, isPlain } = await raceAbort(this.#connected(), signal, operation);
    const url = new URL(`${access.server}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = {
      accept: 'application/json',
      'user-agent': 'nabustore',
      ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': text.length }),
      ...(await raceAbort(access.headers(), signal, operation)),
    };
    const options = { method, headers, agent, signal };
    return await new Promise((resolve, reject) => {
      const request = isPlain ? httpRequest(url, options) : httpsRequest(url, { ...options, ...access.tls });
      request.once('response', resolve);
      request.on('error', (err) => reject(failure(err, signal, operation)));
      request.end(text);
    });
  }
}

type Sent = {
  readonly method: string;
  readonly path: string;
  readonly query?: KubeQuery | undefined;
  readonly body?: unknown;
};

type Connection = { readonly access: KubeAccess; readonly agent: HttpAgent; readonly isPlain: boolean };

function connectionTo(access: KubeAccess): Connection {
  const isPlain = new URL(access.server).protocol === 'http:';
  const options = { keepAlive: true, maxSockets: CONNECTIONS };
  return { access, isPlain, agent: isPlain ? new HttpAgent(options) : new HttpsAgent(options) };
}

function failure(err: unknown, signal: AbortSignal, operation: string): NabuError {
  if (NabuError.is(err)) return err;
  if (signal.aborted) return abortError(signal, operation);
  const code: unknown = Reflect.get(Object(err), 'code');
  const reason = `${operation}: ${typeof code === 'string' ? code : 'the connection failed'}`;
  return NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
}

async function wholeText(answer: IncomingMessage, signal: AbortSignal, operation: string): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      sizeBytes += part.length;
      if (sizeBytes > ANSWER_LIMIT_BYTES) {
        throw NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes, limitBytes: ANSWER_LIMIT_BYTES });
      }
      parts.push(part);
    }
  } catch (err) {
    throw failure(err, signal, operation);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parsed(text: string, operation: string): unknown {
  try {
    return JSON.parse(text);
  } catch (err) {
    throw NabuError.of('PROTOCOL_ERROR', { peer: 'the API server', reason: `${operation}: no JSON` }, { cause: err });
  }
}

async function* linesOf(answer: IncomingMessage, operation: string): AsyncGenerator<string> {
  let rest = '';
  answer.setEncoding('utf8');
  for await (const part of answer as AsyncIterable<string>) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LINE_LIMIT_CHARS) {
      throw NabuError.of('PROTOCOL_ERROR', { peer: 'the API server', reason: `${operation}: a line without end` });
    }
    for (const line of lines) if (line !== '') yield line;
  }
}

function eventOf(line: string, operation: string): WatchEvent {
  const event = Object(parsed(line, operation));
  const type: unknown = Reflect.get(event, 'type');
  const object: unknown = Reflect.get(event, 'object');
  if (type !== 'ERROR') return { type: String(type), object };
  throw answerError({
    operation,
    status: Number(Reflect.get(Object(object), 'code') ?? 500),
    text: JSON.stringify(object),
  });
}
