import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { NabuError } from '../../common/errors/index.ts';
import { GrpcServer, type Handlers } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { services } from '../../proto/gen/kubelet.js';

type PluginHandlers = Handlers<(typeof services)['v1beta1.DevicePlugin']>;

export type PluginSocketOptions = {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxMessageBytes: number;
  readonly maxCallMs: number;
  /** The service, which says through the argument when a stream begins and, by what that returns, when it ends. */
  readonly handlers: (onStream: () => () => void) => PluginHandlers;
  readonly onStream: () => () => void;
};

type Served = { readonly server: GrpcServer; inode: bigint | undefined; streams: number; isRetired: boolean };

/** How long calls may take to end after their socket is given up. */
const GRACE_MS = 1000;

async function inodeAt(path: string): Promise<bigint | undefined> {
  try {
    return (await lstat(path, { bigint: true })).ino;
  } catch {
    return undefined; // gone, or in a folder that is: `ensure` then makes it anew or says why it cannot
  }
}

/** It is the kubelet's to make, with the mode and the label that it wants. */
async function requireFolder(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  throw NabuError.of('UNAVAILABLE', { target: 'the kubelet', reason: `there is no folder ${path}` });
}

/**
 * A resource's Unix socket, which whoever owns the folder may take away at any time. A connection outlives its socket's
 * name: when the name has gone a new server takes it, and the old one goes on until its last stream has ended. To end them
 * at once would take the resource off the node for as long as the kubelet cannot be registered with.
 */
export class PluginSocket {
  readonly #options: PluginSocketOptions;
  readonly #closing = new Set<Promise<void>>();
  readonly #retired = new Set<Served>();
  #current: Served | undefined;
  #ensuring: Promise<void> | undefined;

  constructor(options: PluginSocketOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.path;
  }

  /** ListAndWatch calls in progress. */
  get streams(): number {
    let count = this.#current?.streams ?? 0;
    for (const { streams } of this.#retired) count += streams;
    return count;
  }

  /** Whether the socket that answers at the path is ours. */
  async isThere(): Promise<boolean> {
    return this.#current?.inode !== undefined && (await inodeAt(this.path)) === this.#current.inode;
  }

  /** Listens at the path unless it does. Throws UNAVAILABLE without the folder, ALREADY_EXISTS when another process answers. */
  ensure(): Promise<void> {
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async close(): Promise<void> {
    await this.#ensuring?.catch(() => undefined); // its caller hears of it
    const served = [...this.#retired, ...(this.#current === undefined ? [] : [this.#current])];
    this.#retired.clear();
    this.#current = undefined;
    for (const one of served) this.#close(one);
    await Promise.all(this.#closing);
  }

  async #ensure(): Promise<void> {
    if (await this.isThere()) return;
    await requireFolder(dirname(this.path));
    const served = this.#make();
    try {
      await served.server.listen({ kind: 'unix', path: this.path });
      served.inode = await inodeAt(this.path);
      if (served.inode === undefined)
        throw NabuError.of('UNAVAILABLE', { target: this.path, reason: 'it was removed' });
    } catch (err) {
      await served.server.close(0);
      throw NabuError.is(err)
        ? err
        : NabuError.of('FILE_INVALID', { path: this.path, reason: 'no socket can be made there' }, { cause: err });
    }
    const previous = this.#current;
    this.#current = served;
    if (previous !== undefined) this.#retire(previous);
  }

  #make(): Served {
    const { clock, logger, maxMessageBytes, maxCallMs, handlers } = this.#options;
    const server = new GrpcServer({ clock, logger, maxMessageBytes, maxCallMs, hasHealth: false });
    const served: Served = { server, inode: undefined, streams: 0, isRetired: false };
    server.add(
      services['v1beta1.DevicePlugin'],
      handlers(() => this.#onStream(served)),
    );
    return served;
  }

  #onStream(served: Served): () => void {
    served.streams++;
    const ended = this.#options.onStream();
    return () => {
      served.streams--;
      ended();
      if (served.isRetired && served.streams === 0) this.#close(served);
    };
  }

  #retire(served: Served): void {
    served.isRetired = true;
    if (served.streams === 0) this.#close(served);
    else this.#retired.add(served);
  }

  #close(served: Served): void {
    this.#retired.delete(served);
    const closing = served.server.close(GRACE_MS).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
