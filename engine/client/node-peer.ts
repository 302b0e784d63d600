import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random, Timer } from '../../common/ports/index.ts';
import type { NodeId } from '../blob/index.ts';
import type { MapNode } from '../placement/index.ts';
import type { NodeClient } from '../protocol/index.ts';
import type { CallDeadline } from '../transport/index.ts';
import type { LinkObserver, NodeConnector, NodeLink } from './node-connector.ts';

/** idle: never needed yet. connecting: first dial. up: connected. away: lost or refused, dialled again now and then. */
export type PeerState = 'idle' | 'connecting' | 'up' | 'away';

export type PeerStatus = {
  readonly nodeId: NodeId;
  readonly state: PeerState;
  /** Dials that failed since it was last up. */
  readonly failures: number;
  /** Why it is away, '' otherwise. */
  readonly reason: string;
};

export type NodePeerOptions = {
  readonly connector: NodeConnector;
  readonly observer: LinkObserver;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly connectTimeoutMs: number;
  readonly firstRetryMs: number;
  readonly lastRetryMs: number;
  /** The state changed between reachable and away. */
  readonly changed: () => void;
};

/**
 * What this process knows of one node: at most one connection, dialled when first needed. After a loss it is `away`, writes go
 * elsewhere at once, and it is dialled with exponential backoff and jitter until it answers again.
 */
export class NodePeer {
  readonly node: MapNode;
  readonly #options: NodePeerOptions;
  #link: NodeLink | undefined;
  #dialling: Promise<NodeClient> | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  #reason = '';
  #state: PeerState = 'idle';
  #closed = false;

  constructor(node: MapNode, options: NodePeerOptions) {
    this.node = node;
    this.#options = options;
  }

  /** The connection's calls when there is one now. */
  get live(): NodeClient | undefined {
    return this.#link?.client;
  }

  get state(): PeerState {
    return this.#state;
  }

  /** Connected, or not yet known to be away. */
  get reachable(): boolean {
    return this.#state !== 'away';
  }

  get status(): PeerStatus {
    return { nodeId: this.node.id, state: this.#state, failures: this.#failures, reason: this.#reason };
  }

  /** Waits for the first dial; UNAVAILABLE at once while it is away. */
  async client(deadline: CallDeadline): Promise<NodeClient> {
    if (this.#link !== undefined) return this.#link.client;
    if (this.#state === 'away') throw this.#unavailable();
    this.#dialling ??= this.#dial();
    return await this.#raced(this.#dialling, deadline);
  }

  /** Evidence from elsewhere that the node does not serve: the connection is dropped, whatever it still owes fails. */
  suspect(reason: string): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#lost(reason);
    link.close();
  }

  /** For good: the node left the map, or the process ends. */
  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    const link = this.#link;
    this.#link = undefined;
    this.#state = 'away';
    this.#reason = 'this client is closed';
    link?.close();
  }

  async #dial(): Promise<NodeClient> {
    const { connector, observer, clock, connectTimeoutMs } = this.#options;
    if (this.#state === 'idle') this.#state = 'connecting';
    try {
      using deadline = new Deadline({
        clock,
        operation: `connecting to node ${this.node.id}`,
        timeoutMs: connectTimeoutMs,
      });
      const connecting = connector.connect(this.node, observer, deadline);
      const link = await deadline.race(connecting).catch((err: unknown) => {
        connecting.then(
          (late) => late.close(),
          () => undefined, // the dial's own end, which came too late to matter
        );
        throw err;
      });
      if (this.#closed) link.close();
      else this.#opened(link);
      return link.client;
    } catch (err) {
      this.#lost(err instanceof Error ? err.message : 'the dial failed');
      throw this.#unavailable();
    } finally {
      this.#dialling = undefined;
    }
  }

  #opened(link: NodeLink): void {
    this.#link = link;
    const wasAway = this.#state === 'away';
    this.#state = 'up';
    this.#failures = 0;
    this.#reason = '';
    link.closed.then((err) => {
      if (this.#link === link) this.#lost(err?.message ?? 'the connection was closed');
    });
    if (!wasAway) return;
    this.#options.logger.info('node is back', { nodeId: this.node.id });
    this.#options.changed();
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    this.#link = undefined;
    const wasAway = this.#state === 'away';
    this.#state = 'away';
    this.#reason = reason;
    this.#failures++;
    this.#scheduleRetry();
    if (wasAway) return;
    this.#options.logger.warn('node is away', { nodeId: this.node.id, reason });
    this.#options.changed();
  }

  #scheduleRetry(): void {
    const { clock, random, firstRetryMs, lastRetryMs } = this.#options;
    this.#retry?.cancel();
    const delayMs = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(16, this.#failures - 1));
    // Half of the delay is random: clients that lost a node together do not come back together.
    this.#retry = clock.setTimer(() => this.#probe(), delayMs * (0.5 + random.float() / 2), { background: true });
  }

  #probe(): void {
    if (this.#state !== 'away' || this.#dialling !== undefined) return;
    this.#dialling = this.#dial();
    this.#dialling.catch(() => undefined); // the state tells
  }

  #raced(dialling: Promise<NodeClient>, { signal }: CallDeadline): Promise<NodeClient> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      dialling.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  #unavailable(): NabuError {
    return NabuError.of('UNAVAILABLE', { target: `node ${this.node.id}`, reason: this.#reason });
  }
}
