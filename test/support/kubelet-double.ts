import assert from 'node:assert/strict';
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { type ClientOf, GrpcClient, GrpcServer } from '../../common/grpc/index.ts';
import { silentLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import type { v1beta1 } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/services.js';

type PluginClient = ClientOf<(typeof services)['v1beta1.DevicePlugin']>;

/** What went over the sockets, in its order. */
export type KubeletEvent =
  | { readonly kind: 'register'; readonly request: v1beta1.RegisterRequest }
  | { readonly kind: 'options'; readonly resource: string; readonly options: v1beta1.DevicePluginOptions }
  | { readonly kind: 'accepted' | 'refused' | 'stream-ended'; readonly resource: string }
  | { readonly kind: 'list'; readonly resource: string; readonly devices: readonly v1beta1.Device[] };

/** How it behaves; the default is like a kubelet that has nothing else to do. */
export type KubeletManners = {
  /** Waits so long before it dials the plugin's socket. */
  readonly dialAfterMs?: number;
  /** Waits so long, after it has dialled, before it answers Register. */
  readonly answerAfterMs?: number;
  /** Refuses so many registrations of each resource first. */
  readonly refusals?: number;
  /** Takes Register and never answers. */
  readonly hangs?: boolean;
  /** Answers so many registrations of each resource first without ever dialling back. */
  readonly forgets?: number;
  /** Breaks off so many streams of each resource first, as soon as it has the list. */
  readonly cuts?: number;
};

type Connected = {
  readonly resource: string;
  readonly path: string;
  readonly grpc: GrpcClient;
  readonly calls: PluginClient;
  readonly gone: AbortController;
  run: Promise<void>;
};

const DIAL_LIMIT_MS = 10_000;
const DIAL_PAUSE_MS = 10;
const CALL_LIMIT_MS = 10_000;
const LOOK_EVERY_MS = 10;
const QUALIFIED = /^[a-z0-9.-]+\/[A-Za-z0-9][A-Za-z0-9._-]*$/;

function refusal(reason: string): NabuError {
  return NabuError.of('FAILED_PRECONDITION', { operation: 'Register', reason });
}

/** Waits for a state, and says what was there instead when it does not come. */
export async function eventually(what: string, isTrue: () => boolean, timeoutMs: number, seen?: () => unknown) {
  const untilMs = performance.now() + timeoutMs;
  while (!isTrue()) {
    if (performance.now() > untilMs) {
      assert.fail(`not within ${timeoutMs} ms: ${what}${seen === undefined ? '' : `; ${JSON.stringify(seen())}`}`);
    }
    await realClock.sleep(LOOK_EVERY_MS);
  }
}

/**
 * The kubelet's device manager as far as a plugin can see it (Kubernetes 1.36, pkg/kubelet/cm/devicemanager and its
 * plugin/v1beta1), on real sockets: it removes the sockets in its folder when it starts; checks version and name; dials back
 * and asks for the options within Register, for at most 10 s; then keeps a ListAndWatch whose end marks all devices of the
 * resource as unhealthy, those of a newer client of the resource too.
 */
export class KubeletDouble {
  readonly folder: string;
  readonly events: KubeletEvent[] = [];
  #manners: KubeletManners = {};
  #server: GrpcServer | undefined;
  #life = new AbortController();
  #clients: Connected[] = [];
  readonly #mishaps = new Map<string, number>();
  #advertised = new Map<string, Map<string, boolean>>();
  readonly #ending = new Set<Promise<void>>();

  constructor(folder: string) {
    this.folder = folder;
  }

  get socket(): string {
    return join(this.folder, 'kubelet.sock');
  }

  async start(manners: KubeletManners = {}): Promise<void> {
    this.#manners = manners;
    this.#life = new AbortController();
    this.#mishaps.clear();
    this.#advertised = new Map();
    await mkdir(this.folder, { recursive: true, mode: 0o750 });
    this.wipe();
    const server = new GrpcServer({ logger: silentLogger });
    server.add(services['v1beta1.Registration'], { register: (request) => this.#register(request) });
    this.#server = server;
    await server.listen({ kind: 'unix', path: this.socket });
  }

  /** Ends at once, as a process does. A killed one leaves its socket's name. */
  async stop({ isKilled = false } = {}): Promise<void> {
    this.#life.abort(NabuError.of('CANCELLED', { operation: 'the kubelet' }));
    for (const client of [...this.#clients]) this.#drop(client);
    await this.#server?.close(0);
    this.#server = undefined;
    await Promise.all(this.#ending);
    if (isKilled) await this.#leaveDeadSocket();
  }

  async restart(manners: KubeletManners = {}, options: { readonly isKilled?: boolean } = {}): Promise<void> {
    await this.stop(options);
    await this.start(manners);
  }

  /** Removes every socket in the folder, its own too, and nothing else: devicemanager, CleanupPluginDirectory. */
  wipe(keep: readonly string[] = []): void {
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      if (!keep.includes(name) && lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) {
        rmSync(path, { force: true });
      }
    }
  }

  /** 'id' of each device that pods may get, '!id' of each that they may not, sorted; undefined before the first list. */
  advertised(resource: string): string[] | undefined {
    const devices = this.#advertised.get(resource);
    if (devices === undefined) return undefined;
    return [...devices].map(([id, isHealthy]) => (isHealthy ? id : `!${id}`)).sort();
  }

  async untilAdvertised(resource: string, expected: () => readonly string[], timeoutMs: number): Promise<void> {
    const isRight = (): boolean => JSON.stringify(this.advertised(resource)) === JSON.stringify(expected());
    const last = (): unknown => ({
      advertised: this.advertised(resource)?.slice(0, 20),
      events: this.kinds().slice(-12),
    });
    await eventually(`${resource} is advertised`, isRight, timeoutMs, last);
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }

  lists(resource: string): (readonly v1beta1.Device[])[] {
    return this.events.flatMap((event) =>
      event.kind === 'list' && event.resource === resource ? [event.devices] : [],
    );
  }

  /** The connection over which pods' devices are asked for. */
  plugin(resource: string): PluginClient {
    const client = this.#clients.findLast((one) => one.resource === resource);
    assert.ok(client !== undefined, `no client of ${resource}`);
    return client.calls;
  }

  /** Ends every stream of a resource, and has marked its devices as unhealthy when it returns. */
  async breakOff(resource: string): Promise<void> {
    const clients = this.#clients.filter((one) => one.resource === resource);
    for (const client of clients) client.gone.abort();
    await Promise.all(clients.map(({ run }) => run));
  }

  async #register(request: v1beta1.RegisterRequest): Promise<v1beta1.Empty> {
    this.events.push({ kind: 'register', request });
    const { resourceName: resource, endpoint, version } = request;
    const life = this.#life.signal;
    const { hangs = false, refusals = 0, forgets = 0, dialAfterMs = 0, answerAfterMs = 0 } = this.#manners;
    if (hangs) await new Promise((_, reject) => life.addEventListener('abort', () => reject(life.reason)));
    if (version !== 'v1beta1') throw refusal(`version ${version}`);
    if (!QUALIFIED.test(resource)) throw refusal(`resource name ${resource}`);
    if (this.#isOneOf(refusals, `refuse ${resource}`)) {
      this.events.push({ kind: 'refused', resource });
      throw refusal('not now');
    }
    if (this.#isOneOf(forgets, `forget ${resource}`)) return {};
    if (dialAfterMs > 0) await realClock.sleep(dialAfterMs, life);
    await this.#connect(resource, join(this.folder, endpoint), life);
    if (answerAfterMs > 0) await realClock.sleep(answerAfterMs, life);
    this.events.push({ kind: 'accepted', resource });
    return {};
  }

  /** Whether the first `limit` of this kind are not over yet; counts them. */
  #isOneOf(limit: number, kind: string): boolean {
    const done = this.#mishaps.get(kind) ?? 0;
    if (done < limit) this.#mishaps.set(kind, done + 1);
    return done < limit;
  }

  async #connect(resource: string, path: string, life: AbortSignal): Promise<void> {
    const grpc = new GrpcClient({ address: { kind: 'unix', path } });
    const calls = grpc.service(services['v1beta1.DevicePlugin']);
    const client: Connected = { resource, path, grpc, calls, gone: new AbortController(), run: Promise.resolve() };
    this.#clients.push(client);
    try {
      const options = await this.#dial(calls, life);
      this.events.push({ kind: 'options', resource, options });
    } catch (err) {
      this.#drop(client);
      throw err;
    }
    client.run = this.#run(client);
    this.#ending.add(client.run);
    client.run.finally(() => this.#ending.delete(client.run));
  }

  /** As gRPC dials that blocks: again until somebody answers. */
  async #dial(calls: PluginClient, signal: AbortSignal): Promise<v1beta1.DevicePluginOptions> {
    const untilMs = performance.now() + DIAL_LIMIT_MS;
    for (;;) {
      try {
        return await calls.getDevicePluginOptions({}, { timeoutMs: CALL_LIMIT_MS, signal });
      } catch (err) {
        if (!NabuError.is(err, 'UNAVAILABLE') || performance.now() > untilMs) throw err;
      }
      await realClock.sleep(DIAL_PAUSE_MS, signal);
    }
  }

  async #run(client: Connected): Promise<void> {
    const { resource, calls, gone } = client;
    const advertised = this.#advertised; // a later kubelet has its own
    try {
      for await (const { devices } of calls.listAndWatch({}, { signal: gone.signal })) {
        this.events.push({ kind: 'list', resource, devices });
        advertised.set(resource, new Map(devices.map(({ ID, health }) => [ID, health === 'Healthy'])));
        if (this.#isOneOf(this.#manners.cuts ?? 0, `cut ${resource}`)) gone.abort();
      }
    } catch (err) {
      if (!NabuError.is(err)) throw err;
    }
    this.events.push({ kind: 'stream-ended', resource });
    const oldest = this.#clients.find((one) => one.resource === resource && one.path === client.path);
    if (oldest !== undefined) this.#drop(oldest);
    const devices = advertised.get(resource);
    for (const id of devices?.keys() ?? []) devices?.set(id, false);
  }

  #drop(client: Connected): void {
    this.#clients = this.#clients.filter((one) => one !== client);
    client.gone.abort();
    client.grpc.close();
  }

  /** A name that nobody listens behind: Node removes the one that it bound, so that one is renamed first. */
  async #leaveDeadSocket(): Promise<void> {
    const bound = join(this.folder, '.dead');
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(bound, resolve));
    await rename(bound, this.socket);
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
