import { connect, type Socket } from 'node:net';
import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/nri.js';
import { Mux, PLUGIN_SERVICE, RUNTIME_SERVICE } from './mux.ts';
import { type NriHandler, pluginHandlers, type RuntimeVersion } from './plugin-handlers.ts';
import { TtrpcClient } from './ttrpc-client.ts';
import { TtrpcServer } from './ttrpc-server.ts';

export type NriSessionOptions = {
  readonly socketPath: string;
  readonly name: string;
  /** Two digits: plugins are called in this order. */
  readonly index: string;
  readonly handler: NriHandler;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Until it is registered and configured. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

const PEER = 'the container runtime';
/** The runtime's own (adaptation, DefaultPluginRequestTimeout) is 2 s; what it states goes before. */
const CALL_TIMEOUT_MS = 2000;

/** One registration with a container runtime, from the connection to its end. */
export class NriSession {
  readonly runtime: RuntimeVersion;
  /** With what was wrong, if anything was. Never rejects. */
  readonly closed: Promise<NabuError | undefined>;
  readonly #mux: Mux;

  private constructor(mux: Mux, runtime: RuntimeVersion) {
    this.#mux = mux;
    this.closed = mux.closed;
    this.runtime = runtime;
  }

  /** Throws UNAVAILABLE, TIMEOUT, PROTOCOL_ERROR; nothing is left open then. */
  static async open(options: NriSessionOptions): Promise<NriSession> {
    const { socketPath, name, index, handler, clock, logger, timeoutMs, signal } = options;
    using deadline = new Deadline({ clock, operation: 'registration with NRI', timeoutMs, parent: signal });
    const mux = new Mux(await connected(socketPath, deadline));
    const runtime = Promise.withResolvers<RuntimeVersion>();
    const server = new TtrpcServer({
      open: (onBytes) => mux.open(PLUGIN_SERVICE, onBytes),
      peer: PEER,
      clock,
      handlers: pluginHandlers(handler, logger, runtime.resolve),
      timeoutMs: CALL_TIMEOUT_MS,
    });
    const client = new TtrpcClient((onBytes) => mux.open(RUNTIME_SERVICE, onBytes), PEER);
    const lost = mux.closed.then((cause): never => {
      const reason = cause ?? NabuError.of('UNAVAILABLE', { target: PEER, reason: 'it closed the connection' });
      server.close();
      client.fail(reason);
      throw reason;
    });
    lost.catch(() => undefined); // after the registration, `closed` says it
    try {
      const { registerPlugin } = services['nri.pkg.api.v1alpha1.Runtime'];
      await client.call(registerPlugin, { pluginName: name, pluginIdx: index }, deadline);
      return new NriSession(mux, await deadline.race(Promise.race([runtime.promise, lost])));
    } catch (err) {
      mux.close();
      await mux.closed;
      throw err;
    }
  }

  async close(): Promise<void> {
    this.#mux.close();
    await this.closed;
  }
}

/** Throws UNAVAILABLE, or what ended the deadline. */
async function connected(path: string, deadline: Deadline): Promise<Socket> {
  deadline.throwIfExpired();
  const socket = connect(path);
  try {
    await deadline.race(
      new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', (cause) => {
          reject(NabuError.of('UNAVAILABLE', { target: path, reason: cause.message }, { cause }));
        });
      }),
    );
    return socket;
  } catch (err) {
    socket.destroy();
    throw err;
  }
}
