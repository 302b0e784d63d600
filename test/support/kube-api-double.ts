import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubeAccess } from '../../device-plugin/kube-api/index.ts';

export type KubeObject = {
  readonly apiVersion?: string;
  readonly kind?: string;
  metadata: { name: string; namespace?: string; uid?: string; resourceVersion?: string; [field: string]: unknown };
  [field: string]: unknown;
};

type Event = { readonly version: number; readonly path: string; readonly object: KubeObject; readonly line: string };
type Watcher = { readonly path: string; readonly selector: string; readonly response: ServerResponse };
type Call = { readonly method: string; readonly path: string; readonly query: Readonly<Record<string, string>> };
/** A status to answer with instead, or never to answer. */
export type Fault = number | 'hang' | 'cut';

const RESOURCE = '/apis/resource.k8s.io/v1';
const SLICES = `${RESOURCE}/resourceslices`;

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const text = Buffer.concat(parts).toString('utf8');
  return text === '' ? undefined : JSON.parse(text);
}

function fieldOf(object: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => Reflect.get(Object(value), name), object);
}

/**
 * The API server as far as our driver sees it, over real HTTP: objects with uids and versions, optimistic locking, field
 * selectors, watches, dry runs, and fields that it drops where a feature is off.
 */
export class KubeApiDouble implements AsyncDisposable {
  /** What it keeps of ResourceSlices: both on in Kubernetes 1.36, off in 1.34. */
  features = { taints: true, sharing: true };
  /** Every call, in order. */
  readonly calls: Call[] = [];
  /** Asked for each call before anything else. */
  fault: (call: Call) => Fault | undefined = () => undefined;
  /** What it makes of a ResourceSlice beside dropping fields. */
  amend: (slice: KubeObject) => void = () => undefined;
  readonly #objects = new Map<string, KubeObject>();
  readonly #watchers = new Set<Watcher>();
  readonly #events: Event[] = [];
  readonly #server: Server;
  #version = 100;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<KubeApiDouble> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new KubeApiDouble(server);
  }

  access(): KubeAccess {
    const { port } = this.#server.address() as AddressInfo;
    return { server: `http://127.0.0.1:${port}`, tls: {}, headers: async () => ({ authorization: 'Bearer test' }) };
  }

  /** Puts an object at a collection's path, '/api/v1/nodes', whatever is there. */
  put(collection: string, object: KubeObject): KubeObject {
    const path = `${collection}/${object.metadata.name}`;
    return this.#store(path, object, this.#objects.has(path) ? 'MODIFIED' : 'ADDED');
  }

  remove(path: string): void {
    const object = this.#objects.get(path);
    if (object === undefined) return;
    this.#objects.delete(path);
    this.#version++;
    this.#tell('DELETED', path, object);
  }

  /** By name. */
  get slices(): KubeObject[] {
    return this.#in(SLICES);
  }

  /** As the kubelet does for its node when it starts. */
  wipeSlices(): void {
    for (const { metadata } of this.slices) this.remove(`${SLICES}/${metadata.name}`);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Ends every watch. */
  endWatches(): void {
    for (const { response } of this.#watchers) response.end();
  }

  count(method: string, path = SLICES): number {
    return this.calls.filter((call) => call.method === method && call.path.startsWith(path)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close').catch(() => undefined);
  }

  #in(collection: string, selector = ''): KubeObject[] {
    return [...this.#objects]
      .filter(([path]) => path.startsWith(`${collection}/`))
      .map(([, object]) => object)
      .filter((object) => this.#matches(object, selector))
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  #matches(object: KubeObject, selector: string): boolean {
    return (
      selector === '' ||
      selector.split(',').every((term) => {
        const [path = '', value] = term.split('=');
        return fieldOf(object, path) === value;
      })
    );
  }

  #store(path: string, object: KubeObject, type: string): KubeObject {
    const before = this.#objects.get(path);
    const stored = structuredClone(object);
    stored.metadata.uid = before?.metadata.uid ?? object.metadata.uid ?? randomUUID();
    stored.metadata.resourceVersion = String(++this.#version);
    this.#objects.set(path, stored);
    this.#tell(type, path, stored);
    return stored;
  }

  #tell(type: string, path: string, object: KubeObject): void {
    const event = { version: this.#version, path, object, line: `${JSON.stringify({ type, object })}\n` };
    this.#events.push(event);
    for (const watcher of this.#watchers) this.#send(watcher, event);
  }

  #send({ path, selector, response }: Watcher, event: Event): void {
    if (event.path.startsWith(`${path}/`) && this.#matches(event.object, selector)) response.write(event.line);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://double');
    const query = Object.fromEntries(url.searchParams);
    const call = { method: request.method ?? '', path: url.pathname, query };
    this.calls.push(call);
    const body = await bodyOf(request);
    const fault = this.fault(call);
    if (fault === 'hang') return;
    if (fault === 'cut') {
      response.destroy();
      return;
    }
    if (fault !== undefined) send(response, fault, statusOf(fault));
    else if (query.watch === 'true') this.#watch(call, response);
    else {
      const [status, answer] = this.#handle(call, body);
      send(response, status, answer);
    }
  }

  #watch({ path, query }: Call, response: ServerResponse): void {
    const watcher = { path, selector: query.fieldSelector ?? '', response };
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    // What happened since the list that the watch goes on from.
    const since = Number(query.resourceVersion ?? this.#version);
    for (const event of this.#events.filter(({ version }) => version > since)) this.#send(watcher, event);
  }

  #handle({ method, path, query }: Call, body: unknown): [number, unknown] {
    const isCollection = !this.#objects.has(path) && /(nodes|resourceslices|deviceclasses|resourceclaims)$/.test(path);
    if (method === 'GET' && isCollection) {
      const items = this.#in(path, query.fieldSelector);
      return [200, { metadata: { resourceVersion: String(this.#version) }, items }];
    }
    if (method === 'POST') return this.#create(path, body as KubeObject, query.dryRun === 'All');
    const object = this.#objects.get(path);
    if (object === undefined) return [404, statusOf(404)];
    if (method === 'GET') return [200, object];
    if (method === 'PUT') return this.#update(path, object, body as KubeObject);
    return this.#delete(path, object, body);
  }

  #create(collection: string, object: KubeObject, isDryRun: boolean): [number, unknown] {
    const path = `${collection}/${object.metadata.name}`;
    if (this.#objects.has(path)) return [409, statusOf(409)];
    const kept = this.#withoutDropped(object);
    // Without a version, as the API server answers.
    if (isDryRun) return [201, { ...kept, metadata: { ...kept.metadata, uid: randomUUID() } }];
    return [201, this.#store(path, kept, 'ADDED')];
  }

  #update(path: string, before: KubeObject, object: KubeObject): [number, unknown] {
    if (object.metadata.resourceVersion !== before.metadata.resourceVersion) return [409, statusOf(409)];
    return [200, this.#store(path, this.#withoutDropped(object), 'MODIFIED')];
  }

  #delete(path: string, object: KubeObject, body: unknown): [number, unknown] {
    const { uid, resourceVersion } = object.metadata;
    const wanted = Object(fieldOf(body, 'preconditions'));
    const isOther =
      (Reflect.get(wanted, 'uid') ?? uid) !== uid ||
      (Reflect.get(wanted, 'resourceVersion') ?? resourceVersion) !== resourceVersion;
    if (isOther) return [409, statusOf(409)];
    this.remove(path);
    return [200, { status: 'Success' }];
  }

  /** As the API server: dropDisabledFields, and the time that it gives each taint. */
  #withoutDropped(object: KubeObject): KubeObject {
    const copy = structuredClone(object);
    const devices: unknown = fieldOf(copy, 'spec.devices');
    for (const device of Array.isArray(devices) ? devices : []) {
      if (!this.features.taints) delete device.taints;
      if (!this.features.sharing) {
        delete device.allowMultipleAllocations;
        for (const capacity of Object.values(Object(device.capacity))) delete Object(capacity).requestPolicy;
      }
      for (const taint of device.taints ?? []) taint.timeAdded ??= '2026-01-01T00:00:00Z';
    }
    this.amend(copy);
    return copy;
  }
}

function statusOf(code: number): unknown {
  return { kind: 'Status', status: 'Failure', code, message: `the double says ${code}`, reason: 'Double' };
}

function send(response: ServerResponse, status: number, answer: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer));
}
