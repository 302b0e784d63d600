import { NabuError } from '../../common/errors/index.ts';
import { GrpcServer } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import { Backoff, fileIdentity, WakeUp } from '../kubelet/index.ts';

export type KeptSocketOptions = {
  readonly path: string;
  /** Adds its services to a server that is about to listen. */
  readonly serve: (server: GrpcServer) => void;
  /** After it began to listen, also again. */
  readonly onListening?: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How often to look whether it is still there. */
  readonly lookMs: number;
  readonly maxCallMs: number;
};

const GRACE_MS = 1000;

/**
 * A socket that is there for as long as it is meant to be: whoever removes it, or the folder that it lies in, finds it made
 * again. Connections to a socket whose name is gone go on until the kubelet has found the new one.
 */
export class KeptSocket {
  readonly #options: KeptSocketOptions;
  readonly #wake: WakeUp;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #current: { readonly server: GrpcServer; readonly identity: string } | undefined;
  #previous: GrpcServer | undefined;
  #running: Promise<void> = Promise.resolve();
  #cause: string | undefined;

  constructor(options: KeptSocketOptions) {
    this.#options = options;
    this.#wake = new WakeUp(options.clock);
    this.#backoff = new Backoff({ firstMs: 100, mostMs: options.lookMs }, options.random);
  }

  get isListening(): boolean {
    return this.#current !== undefined;
  }

  /** Resolves after the first attempt; it goes on trying. */
  async start(): Promise<void> {
    const pauseMs = await this.#ensure();
    this.#running = this.#run(pauseMs);
  }

  /** Looks now. */
  look(): void {
    this.#wake.call();
  }

  /** Takes the socket away and ends every call. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all([this.#previous?.close(GRACE_MS), this.#current?.server.close(GRACE_MS)]);
    this.#previous = undefined;
    this.#current = undefined;
  }

  async #run(firstPauseMs: number): Promise<void> {
    const { signal } = this.#stop;
    let pauseMs = firstPauseMs;
    while (!signal.aborted) {
      await this.#wake.wait(pauseMs, signal);
      if (!signal.aborted) pauseMs = await this.#ensure();
    }
  }

  async #ensure(): Promise<number> {
    const { path, lookMs, logger } = this.#options;
    try {
      if (this.#current === undefined || (await fileIdentity(path)) !== this.#current.identity) await this.#listen();
      this.#cause = undefined;
      this.#backoff.reset();
      return lookMs;
    } catch (err) {
      const cause = NabuError.is(err) ? err.message : String(err);
      if (cause !== this.#cause) logger.warn('a socket cannot be made', { path, error: err });
      this.#cause = cause;
      return this.#backoff.pauseMs();
    }
  }

  async #listen(): Promise<void> {
    const { path, serve, clock, logger, maxCallMs } = this.#options;
    const server = new GrpcServer({ clock, logger, maxCallMs, hasHealth: false });
    serve(server);
    try {
      await server.listen({ kind: 'unix', path });
      const identity = await fileIdentity(path);
      if (identity === undefined) throw NabuError.of('UNAVAILABLE', { target: path, reason: 'it was removed' });
      await this.#previous?.close(GRACE_MS);
      this.#previous = this.#current?.server;
      this.#current = { server, identity };
    } catch (err) {
      await server.close(0);
      throw err;
    }
    logger.info('listening', { path });
    this.#options.onListening?.();
  }
}
