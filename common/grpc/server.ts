import { lstat, rm } from 'node:fs/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { HealthImplementation } from 'grpc-health-check';
import { NabuError } from '../errors/index.ts';
import type { Logger } from '../logging/index.ts';
import { type Clock, realClock } from '../ports/index.ts';
import { formatAddress, grpcTarget, isLoopback, type SocketAddress } from './address.ts';
import { adaptHandlers, type Handlers } from './handlers.ts';
import { type ServiceSpec, serviceDefinition } from './service.ts';
import { bindUnixSocket } from './unix-socket.ts';

export type GrpcServerOptions = {
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Larger messages are refused before they are decoded. */
  readonly maxMessageBytes?: number;
  /** The longest a unary call may take. */
  readonly maxCallMs?: number;
  /** Calls in progress per connection; more wait in the peer. */
  readonly maxStreams?: number;
  /** Whether it answers grpc.health.v1 as well: true. Its code is loaded when the server listens, and takes 3 MB. */
  readonly hasHealth?: boolean;
  /** Until mutual TLS exists, listening beyond this machine must be asked for. */
  readonly allowRemote?: boolean;
};

const DEFAULT_MESSAGE_BYTES = 4 << 20;
const DEFAULT_CALL_MS = 300_000;
const DEFAULT_STREAMS = 1024;

type Bound = { readonly address: SocketAddress; readonly inode: bigint | undefined };

async function socketInode(path: string): Promise<bigint | undefined> {
  return (await lstat(path, { bigint: true }).catch(() => undefined))?.ino;
}

/** A gRPC server with health checks, bounded messages and our errors. Add services, then listen. */
export class GrpcServer {
  readonly #server: Server;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #maxCallMs: number;
  readonly #allowRemote: boolean;
  readonly #closing = new AbortController();
  readonly #hasHealth: boolean;
  #health: Promise<HealthImplementation> | undefined;
  readonly #statuses = new Map<string, 'SERVING' | 'NOT_SERVING'>([['', 'SERVING']]);
  readonly #bound: Bound[] = [];

  constructor(options: GrpcServerOptions) {
    const maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MESSAGE_BYTES;
    this.#server = new Server({
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_send_message_length': maxMessageBytes,
      'grpc.max_concurrent_streams': options.maxStreams ?? DEFAULT_STREAMS,
      'grpc.enable_channelz': 0, // its bookkeeping costs a twentieth of a small call
    });
    this.#logger = options.logger.child({ component: 'grpc' });
    this.#clock = options.clock ?? realClock;
    this.#maxCallMs = options.maxCallMs ?? DEFAULT_CALL_MS;
    this.#allowRemote = options.allowRemote ?? false;
    this.#hasHealth = options.hasHealth ?? true;
  }

  add<S extends ServiceSpec>(service: S, handlers: Handlers<S>): void {
    const environment = {
      clock: this.#clock,
      logger: this.#logger,
      maxCallMs: this.#maxCallMs,
      closing: this.#closing.signal,
    };
    this.#server.addService(serviceDefinition(service), adaptHandlers(service, handlers, environment));
  }

  /** grpc.health.v1; the empty name stands for the whole server. */
  setServing(serving: boolean, service = ''): void {
    const status = serving ? 'SERVING' : 'NOT_SERVING';
    this.#statuses.set(service, status);
    void this.#health?.then((health) => health.setStatus(service, status));
  }

  /** Returns where it listens: port 0 becomes the port that was given. Unix sockets have mode 0600. */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#hasHealth) this.#health ??= this.#addHealth();
    await this.#health;
    if (address.kind === 'unix') {
      await bindUnixSocket(address.path, async (path) => void (await this.#bind({ kind: 'unix', path })));
      this.#bound.push({ address, inode: await socketInode(address.path) });
      return address;
    }
    this.#checkReach(address.host);
    const port = await this.#bind(address);
    const bound = { ...address, port };
    this.#bound.push({ address: bound, inode: undefined });
    return bound;
  }

  /** Ends streams, lets calls finish for at most `graceMs`, then cuts them off. */
  async close(graceMs = 5000): Promise<void> {
    this.#closing.abort(NabuError.of('UNAVAILABLE', { target: 'the server', reason: 'it is shutting down' }));
    this.setServing(false);
    await new Promise<void>((resolve) => {
      const timer = this.#clock.setTimer(() => this.#server.forceShutdown(), graceMs, { background: true });
      this.#server.tryShutdown(() => {
        timer.cancel();
        resolve();
      });
    });
    for (const { address, inode } of this.#bound.splice(0)) {
      // A successor may have put its own socket there already.
      if (address.kind === 'unix' && (await socketInode(address.path)) === inode)
        await rm(address.path, { force: true });
    }
  }

  async #addHealth(): Promise<HealthImplementation> {
    const { HealthImplementation: Health } = await import('grpc-health-check');
    const health = new Health(Object.fromEntries(this.#statuses));
    health.addToServer(this.#server);
    return health;
  }

  #checkReach(host: string): void {
    if (isLoopback(host)) return;
    if (!this.#allowRemote) {
      const reason = `${host} is reachable from other machines and there is no TLS yet: use a loopback address or allow it explicitly`;
      throw NabuError.of('INVALID_ARGUMENT', { field: 'address', reason });
    }
    this.#logger.warn('listening beyond this machine without TLS: whoever reaches the port may use it', { host });
  }

  #bind(address: SocketAddress): Promise<number> {
    const target = address.kind === 'unix' ? grpcTarget(address) : formatAddress(address);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(target, ServerCredentials.createInsecure(), (err, port) => {
        if (err === null) resolve(port);
        else
          reject(NabuError.of('UNAVAILABLE', { target: formatAddress(address), reason: err.message }, { cause: err }));
      });
    });
  }
}
