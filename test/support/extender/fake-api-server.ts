import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Given } from './objects.ts';

const PATHS = [
  '/api/v1/nodes',
  '/api/v1/pods',
  '/api/v1/persistentvolumes',
  '/api/v1/persistentvolumeclaims',
  '/apis/storage.k8s.io/v1/csinodes',
  '/apis/storage.k8s.io/v1/storageclasses',
  '/apis/storage.k8s.io/v1/csistoragecapacities',
  '/apis/nabustore.io/v1alpha1/localityreports',
  '/apis/resource.k8s.io/v1/resourceslices',
  '/apis/resource.k8s.io/v1/deviceclasses',
] as const;
export type ApiPath = (typeof PATHS)[number];

type Meta = { readonly name: string; readonly namespace?: string };

/** The lists and watches of an API server, with objects that a test puts there and faults that it asks for. */
export class FakeApiServer {
  readonly #server: Server;
  readonly #objects = new Map<ApiPath, Map<string, Given>>(PATHS.map((path) => [path, new Map()]));
  readonly #watchers = new Map<ApiPath, Set<ServerResponse>>(PATHS.map((path) => [path, new Set()]));
  #version = 100;
  /** Watches from a version below this one are answered with 410 Gone. */
  #oldest = 0;
  /** What requests for these get instead: those that a cluster may be without are not there unless a test says so. */
  readonly statuses = new Map<ApiPath, number>([
    ['/apis/nabustore.io/v1alpha1/localityreports', 404],
    ['/apis/resource.k8s.io/v1/resourceslices', 404],
    ['/apis/resource.k8s.io/v1/deviceclasses', 404],
  ]);
  /** Every request gets this status, where it is set. */
  brokenStatus: number | undefined;
  lists = 0;
  /** How it says that a watch begins too far back: by an event, or by the status of the answer. */
  goneBy: 'event' | 'status' = 'event';
  /** Of so many further pages that are asked for the token has expired. */
  expiredPages = 0;
  /** Of all lists and watches so far. */
  readonly queries: URLSearchParams[] = [];
  pageLimit = 500;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
  }

  static async start(): Promise<FakeApiServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FakeApiServer(server);
  }

  writeKubeconfig(path: string): void {
    const { port } = this.#server.address() as AddressInfo;
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    writeFileSync(path, JSON.stringify(config));
  }

  /** `silently`: those who watch are not told, as where they were not connected. */
  put(path: ApiPath, object: Given, silently = false): void {
    const known = this.#objects.get(path);
    const key = keyOf(object);
    const type = known?.has(key) === true ? 'MODIFIED' : 'ADDED';
    const versioned = {
      ...object,
      metadata: { ...(object.metadata as Given), resourceVersion: String(++this.#version) },
    };
    known?.set(key, versioned);
    if (!silently) this.#tell(path, type, versioned);
  }

  remove(path: ApiPath, object: Given, silently = false): void {
    if (this.#objects.get(path)?.delete(keyOf(object)) !== true) return;
    this.#version++;
    if (!silently) this.#tell(path, 'DELETED', object);
  }

  /** Ends every watch, as a server that restarts does. `gone`: what they saw last is too old to go on from. */
  endWatches(gone = false): void {
    if (gone) this.#oldest = this.#version + 1;
    for (const watchers of this.#watchers.values()) for (const watcher of watchers) watcher.end();
    if (gone) this.#version++;
  }

  /** To all who watch, as it is. */
  tellRaw(path: ApiPath, line: string): void {
    for (const watcher of this.#watchers.get(path) ?? []) watcher.write(`${line}\n`);
  }

  /** Cuts every connection, in the middle of whatever it is saying. */
  cut(): void {
    for (const watchers of this.#watchers.values()) {
      for (const watcher of watchers) {
        watcher.write('{"type":"MODIFIED","object":{"metadata":{"na');
        watcher.socket?.destroySoon();
      }
    }
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #tell(path: ApiPath, type: string, object: unknown): void {
    for (const watcher of this.#watchers.get(path) ?? []) watcher.write(`${JSON.stringify({ type, object })}\n`);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://x');
    if (request.method === 'PATCH') {
      void this.#patch(url.pathname, request, response);
      return;
    }
    const path = PATHS.find((known) => known === url.pathname);
    this.queries.push(url.searchParams);
    const status = this.brokenStatus ?? (path === undefined ? 404 : (this.statuses.get(path) ?? 200));
    const isWatch = url.searchParams.get('watch') === 'true';
    const version = Number(url.searchParams.get('resourceVersion'));
    const isGone =
      status === 200 && (isWatch ? this.goneBy === 'status' && version < this.#oldest : this.#isExpired(url));
    response.writeHead(isGone ? 410 : status, { 'content-type': 'application/json' });
    if (path === undefined || status !== 200 || isGone) response.end('{}');
    else if (isWatch) this.#watch(path, version, response);
    else this.#list(path, Number(url.searchParams.get('continue') ?? 0), response);
  }

  #isExpired(url: URL): boolean {
    if (!url.searchParams.has('continue') || this.expiredPages === 0) return false;
    this.expiredPages--;
    return true;
  }

  /** Gates off a pod, as a strategic merge says it: nothing else is patched. */
  async #patch(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(path) ?? [];
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const { metadata, spec } = JSON.parse(Buffer.concat(parts).toString());
    const pod = this.#objects.get('/api/v1/pods')?.get(`${namespace}/${name}`);
    const isThis = pod !== undefined && (pod.metadata as Given).uid === metadata.uid;
    const status = this.brokenStatus ?? (pod === undefined ? 404 : isThis ? 200 : 409);
    if (status === 200 && pod !== undefined) {
      const before = pod.spec as { schedulingGates?: { name: string }[] };
      const gone: readonly unknown[] = spec.schedulingGates.map((gate: Given) => gate.name);
      const schedulingGates = before.schedulingGates?.filter((gate) => !gone.includes(gate.name));
      this.put('/api/v1/pods', { ...pod, spec: { ...before, schedulingGates } });
    }
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(pod ?? {}));
  }

  #list(path: ApiPath, from: number, response: ServerResponse): void {
    this.lists++;
    const all = [...(this.#objects.get(path)?.values() ?? [])];
    const items = all.slice(from, from + this.pageLimit);
    const next = from + items.length < all.length ? String(from + items.length) : '';
    response.end(JSON.stringify({ metadata: { resourceVersion: String(this.#version), continue: next }, items }));
  }

  #watch(path: ApiPath, version: number, response: ServerResponse): void {
    if (version < this.#oldest) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`);
      return;
    }
    response.flushHeaders();
    for (const object of this.#objects.get(path)?.values() ?? []) {
      const { resourceVersion } = object.metadata as { resourceVersion: string };
      if (Number(resourceVersion) > version) response.write(`${JSON.stringify({ type: 'MODIFIED', object })}\n`);
    }
    this.#watchers.get(path)?.add(response);
    response.once('close', () => this.#watchers.get(path)?.delete(response));
  }
}

function keyOf(object: Given): string {
  const { name, namespace = '' } = object.metadata as Meta;
  return `${namespace}/${name}`;
}
