import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { Backoff } from '../kubelet/index.ts';
import { NriSession } from './nri-session.ts';
import type { NriHandler, RuntimeVersion } from './plugin-handlers.ts';

export type NriPluginOptions = {
  /** The runtime's, /var/run/nri/nri.sock. It need not be there yet. */
  readonly socketPath: string;
  readonly name: string;
  readonly index: string;
  readonly handler: NriHandler;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly registrationTimeoutMs?: number;
  readonly backoff?: { readonly firstMs: number; readonly mostMs: number };
};

export type NriState = {
  /** Undefined while it is not registered. */
  readonly runtime: RuntimeVersion | undefined;
  /** Why it is not, as it was logged. */
  readonly cause: string | undefined;
};

/** As the runtime's (adaptation, DefaultPluginRegistrationTimeout). */
const REGISTRATION_TIMEOUT_MS = 5000;
const BACKOFF = { firstMs: 50, mostMs: 1000 };
/** A registration that lasted so long was one: the next attempt follows at once. */
const LASTING_MS = 5000;

/** A plugin of the container runtime, registered again whenever the runtime lets go of it, for ever. Logs each cause once. */
export class NriPlugin {
  readonly #options: NriPluginOptions;
  readonly #logger: Logger;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #session: NriSession | undefined;
  #cause: string | undefined;

  constructor(options: NriPluginOptions) {
    this.#options = options;
    this.#logger = options.logger.child({ component: 'nri' });
    this.#backoff = new Backoff(options.backoff ?? BACKOFF, options.random);
  }

  get state(): NriState {
    return { runtime: this.#session?.runtime, cause: this.#cause };
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(NabuError.of('CANCELLED', { operation: 'the NRI plugin' }));
    await this.#session?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#serve();
      } catch (err) {
        if (!signal.aborted) this.#report(err);
      }
      if (!signal.aborted) await clock.sleep(this.#backoff.pauseMs(), signal).catch(() => undefined);
    }
  }

  /** Until the registration ends. Throws why it could not be made. */
  async #serve(): Promise<void> {
    const { socketPath, name, index, handler, clock, registrationTimeoutMs } = this.#options;
    const session = await NriSession.open({
      socketPath,
      name,
      index,
      handler,
      clock,
      logger: this.#logger,
      timeoutMs: registrationTimeoutMs ?? REGISTRATION_TIMEOUT_MS,
      signal: this.#stop.signal,
    });
    const sinceMs = clock.monotonicMs();
    this.#session = session;
    this.#cause = undefined;
    this.#logger.info('registered with the container runtime', { runtime: session.runtime });
    if (this.#stop.signal.aborted) await session.close();
    const cause = await session.closed;
    this.#session = undefined;
    if (clock.monotonicMs() - sinceMs >= LASTING_MS) this.#backoff.reset();
    if (!this.#stop.signal.aborted) {
      this.#report(cause ?? NabuError.of('UNAVAILABLE', { target: socketPath, reason: 'the runtime closed it' }));
    }
  }

  #report(err: unknown): void {
    const cause = NabuError.is(err) ? `${err.code}: ${err.message}` : String(err);
    if (cause !== this.#cause) this.#logger.warn('not registered with the container runtime', { error: err });
    this.#cause = cause;
  }
}
