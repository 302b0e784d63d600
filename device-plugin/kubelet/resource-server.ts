import { join } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { Backoff, type BackoffOptions } from './backoff.ts';
import { DeviceList } from './device-list.ts';
import type { DevicePool, Unsubscribe } from './device-pool.ts';
import type { KubeletFolder } from './kubelet-folder.ts';
import { Newest } from './newest.ts';
import type { KubeletObserver } from './observer.ts';
import { pluginHandlers } from './plugin-service.ts';
import { PluginSocket } from './plugin-socket.ts';
import { Registration } from './registration.ts';
import { endpointOf } from './resource-name.ts';
import { WakeUp } from './wake-up.ts';

export type ResourceServerLimits = {
  readonly maxMessageBytes: number;
  readonly maxCallMs: number;
  /** Longer than the kubelet may take to dial back. */
  readonly registerTimeoutMs: number;
  /** How long a kubelet that took a registration may take until it asks for the list. */
  readonly dialBackMs: number;
  readonly backoff: BackoffOptions;
};

export type ResourceServerOptions = {
  readonly pool: DevicePool;
  readonly folder: KubeletFolder;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits: ResourceServerLimits;
  readonly observer: KubeletObserver;
};

export type ResourceState = {
  /** Whether a kubelet holds a ListAndWatch that began with our registration. */
  readonly isRegistered: boolean;
  /** ListAndWatch calls in progress, whoever makes them. */
  readonly streams: number;
  /** Why it is not registered, as it was logged. */
  readonly cause: string | undefined;
};

/** The kubelet's ListAndWatch: its first after we asked to be registered. */
type Held = { readonly kubelet: string; readonly sinceMs: number; isOpen: boolean };

/**
 * One resource before the kubelet: its socket, its list, its registration. A registration is believed while the kubelet
 * that it was made with holds the stream that it opened for it, whatever Register answered, and no longer: that covers a
 * kubelet that restarts, forgets, answers late or breaks off, by one rule. Never gives up; logs each cause once.
 *
 * It does not register again while that stream is open: the kubelet would hold two clients of one resource, and the end of
 * either marks the devices of both as unhealthy (Kubernetes, devicemanager, runClient and PluginDisconnected).
 */
export class ResourceServer {
  readonly #options: ResourceServerOptions;
  readonly #logger: Logger;
  readonly #list: Newest<DeviceList>;
  readonly #socket: PluginSocket;
  readonly #registration: Registration;
  readonly #wake: WakeUp;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  readonly #subscriptions: Unsubscribe[] = [];
  #running: Promise<void> = Promise.resolve();
  #refresh: NodeJS.Immediate | undefined;
  /** The kubelet at the last look; when it is another one, an attempt with it is cut short. */
  #kubelet: string | undefined;
  #attempt: { readonly kubelet: string; readonly cut: AbortController } | undefined;
  /** The kubelet that was asked to register us and has not opened its stream yet: the next stream is taken as that. */
  #asked: string | undefined;
  /** When it said that it had. */
  #acceptedAtMs: number | undefined;
  #held: Held | undefined;
  /** Nothing is to be done until something happens. */
  #isSettled = false;
  #isAnnounced = false;
  #cause: string | undefined;

  /** Throws what DeviceList.of throws, and INVALID_ARGUMENT when the pool's options promise what it has not. */
  constructor(options: ResourceServerOptions) {
    const { pool, folder, clock, random, limits, observer } = options;
    if (pool.options.preStartRequired && pool.prepare === undefined) {
      throw NabuError.of('INVALID_ARGUMENT', { field: pool.resource, reason: 'preStartRequired without prepare' });
    }
    this.#options = options;
    this.#logger = options.logger.child({ resource: pool.resource });
    this.#list = new Newest(DeviceList.of(pool, limits.maxMessageBytes));
    this.#registration = new Registration(pool, folder.kubeletSocket);
    this.#wake = new WakeUp(clock);
    this.#backoff = new Backoff(limits.backoff, random);
    this.#socket = new PluginSocket({
      path: join(folder.path, endpointOf(pool.resource)),
      clock,
      logger: this.#logger,
      maxMessageBytes: limits.maxMessageBytes,
      maxCallMs: limits.maxCallMs,
      handlers: (onStream) => pluginHandlers({ pool, list: this.#list, onStream, clock, observer }),
      onStream: () => this.#onStream(),
    });
  }

  get state(): ResourceState {
    return { isRegistered: this.#isHeld(), streams: this.#socket.streams, cause: this.#cause };
  }

  start(): void {
    this.#kubelet = this.#options.folder.kubelet;
    this.#subscriptions.push(
      this.#options.folder.onLook(() => this.#onLook()),
      this.#options.pool.watch(() => this.#onChange()),
    );
    this.#onChange(); // for what changed since the constructor
    this.#running = this.#run();
  }

  /** Ends every stream and takes the socket away. The kubelet keeps the resource, with no healthy device. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const unsubscribe of this.#subscriptions.splice(0)) unsubscribe();
    if (this.#refresh !== undefined) clearImmediate(this.#refresh);
    this.#attempt?.cut.abort();
    await this.#running;
    this.#registration.close();
    await this.#socket.close();
  }

  /** Many changes in one turn of the event loop are one message. */
  #onChange(): void {
    this.#refresh ??= setImmediate(() => {
      this.#refresh = undefined;
      const { pool, limits } = this.#options;
      try {
        const list = DeviceList.of(pool, limits.maxMessageBytes);
        if (!list.equals(this.#list.value)) this.#list.set(list);
      } catch (err) {
        this.#logger.error('the devices cannot be listed: the list before stands', { error: err });
      }
    });
  }

  #onStream(): () => void {
    const kubelet = this.#asked;
    if (kubelet === undefined) return () => undefined; // somebody else looks
    this.#asked = undefined;
    const held: Held = { kubelet, sinceMs: this.#options.clock.monotonicMs(), isOpen: true };
    this.#held = held;
    this.#wake.call();
    return () => {
      held.isOpen = false;
      this.#wake.call();
    };
  }

  #onLook(): void {
    const { kubelet } = this.#options.folder;
    if (kubelet !== this.#kubelet) {
      this.#meet(kubelet);
      this.#wake.call();
    } else if (this.#attempt !== undefined) {
      // The kubelet dials while we wait for its answer. What goes wrong here, the step after this attempt meets and reports.
      this.#socket.ensure().catch(() => undefined);
    } else if (this.#isSettled) {
      // Otherwise a step is due after its pause, and looking at what it left in the folder must not shorten that.
      this.#socket.isThere().then((isThere) => {
        if (!isThere) this.#wake.call();
      });
    }
  }

  /** Another kubelet than before, or none. */
  #meet(kubelet: string | undefined): void {
    this.#kubelet = kubelet;
    this.#isAnnounced = false;
    this.#backoff.reset();
    if (this.#attempt?.kubelet !== kubelet) this.#attempt?.cut.abort();
  }

  #isHeld(): boolean {
    return this.#held?.isOpen === true && this.#held.kubelet === this.#options.folder.kubelet;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) await this.#wake.wait(await this.#step(), signal);
  }

  /** Returns how long to wait for something to happen. */
  async #step(): Promise<number> {
    this.#isSettled = false;
    try {
      const pauseMs = await this.#settle();
      this.#isSettled = true;
      return pauseMs;
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#report(err);
      return this.#backoff.pauseMs();
    }
  }

  async #settle(): Promise<number> {
    const { folder } = this.#options;
    // In this order: a kubelet that wipes the folder does so before it makes its socket.
    const kubelet = await folder.look();
    if (kubelet !== this.#kubelet) this.#meet(kubelet);
    await this.#socket.ensure();
    if (kubelet === undefined) throw this.#unavailable(`there is no ${folder.kubeletSocket}`);
    if (this.#isHeld()) return this.#announce();
    if (this.#held?.kubelet === kubelet) throw this.#onLost(this.#held);
    if (this.#asked !== kubelet || this.#acceptedAtMs === undefined) return await this.#register(kubelet);
    const leftMs = this.#acceptedAtMs + this.#options.limits.dialBackMs - this.#options.clock.monotonicMs();
    if (leftMs > 0) return leftMs;
    this.#acceptedAtMs = undefined;
    throw this.#unavailable('it took the registration and did not ask for the list');
  }

  /** Not at once: the kubelet that ends a stream may be about to end itself, or end each one that it gets. */
  #onLost(held: Held): NabuError {
    this.#held = undefined;
    const { clock, limits } = this.#options;
    if (clock.monotonicMs() - held.sinceMs > limits.dialBackMs) this.#backoff.reset();
    return this.#unavailable('it ended the stream of the list');
  }

  async #register(kubelet: string): Promise<number> {
    const { clock, limits } = this.#options;
    const cut = new AbortController();
    this.#attempt = { kubelet, cut };
    this.#asked = kubelet;
    this.#acceptedAtMs = undefined;
    this.#held = undefined;
    try {
      const timeoutMs = limits.registerTimeoutMs;
      await this.#registration.register({ timeoutMs, signal: cut.signal });
    } catch (err) {
      if (cut.signal.aborted) return 0; // by a new kubelet, or by close
      if (!this.#isHeld()) throw err;
    } finally {
      this.#attempt = undefined;
    }
    this.#acceptedAtMs = clock.monotonicMs();
    return this.#isHeld() ? this.#announce() : limits.dialBackMs;
  }

  #announce(): number {
    if (!this.#isAnnounced) {
      const { observer, pool } = this.#options;
      this.#logger.info('registered with the kubelet', { devices: this.#list.value.size });
      observer.registered(pool.resource, 'ok');
    }
    this.#isAnnounced = true;
    this.#cause = undefined;
    return Number.POSITIVE_INFINITY;
  }

  #report(err: unknown): void {
    const cause = NabuError.is(err) ? `${err.code}: ${err.message}` : String(err);
    if (cause !== this.#cause) {
      const { observer, pool } = this.#options;
      this.#logger.warn('not registered with the kubelet', { error: err });
      observer.registered(pool.resource, 'refused');
    }
    this.#cause = cause;
    this.#isAnnounced = false;
  }

  #unavailable(reason: string): NabuError {
    return NabuError.of('UNAVAILABLE', { target: 'the kubelet', reason });
  }
}
