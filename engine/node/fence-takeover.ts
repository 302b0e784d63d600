import { type Deadline, withDeadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import type { NodeId, VolumeId } from '../blob/index.ts';
import type { ClusterMap, MapNode, MapSource } from '../placement/index.ts';
import { MAX_OWNERS_PER_PAGE, type NodeClient, type OwnerPage } from '../protocol/index.ts';
import type { OwnerState, ShardStore } from '../store/index.ts';

/** A peer, for as long as its table is read. */
export type FencePeer = { readonly client: NodeClient; close(): void };
export type FencePeers = (node: MapNode, deadline: Deadline) => Promise<FencePeer>;

export type FenceTakeoverOptions = {
  readonly store: ShardStore;
  readonly map: MapSource;
  readonly connect: FencePeers;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The highest m of any policy in use, as far as is known without asking. */
  readonly maxParity: number;
  /** Asks for it; before every round. UNAVAILABLE and TIMEOUT leave what was known before. */
  readonly askMaxParity?: (signal: AbortSignal) => Promise<number>;
  readonly peerTimeoutMs?: number;
};

export type FenceProgress = {
  readonly complete: boolean;
  /** Peers whose whole table was copied, and how many it takes. */
  readonly answered: readonly NodeId[];
  readonly needed: number;
  readonly reason: string;
};

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
const DEFAULT_PEER_TIMEOUT_MS = 30_000;
/** Owner states that are made durable at once. */
const PARALLEL_WRITES = 16;

/**
 * How many complete peers a node must hear before it may take log blobs again: then at least one of them holds each fence
 * that was ever confirmed (docs/decisions/fence-takeover.md). All there are, in clusters too small for that.
 */
export function fencePeersNeeded(map: ClusterMap, self: string, maxParity: number): number {
  const members = map.nodes.filter(({ state }) => state !== 'out').length;
  const peers = map.nodes.filter(({ id, state }) => state !== 'out' && id !== self).length;
  return Math.min(peers, Math.max(Math.floor(members / 2) + 1, maxParity + 1));
}

/**
 * Gives a new or emptied store the fences it has forgotten: copies the owner tables of its peers, and only then lets the
 * store take log blobs. Keeps trying: peers may be away, or emptied themselves.
 */
export class FenceTakeover {
  readonly #options: FenceTakeoverOptions;
  readonly #answered = new Set<NodeId>();
  #reason = 'it has not asked its peers yet';
  #maxParity: number;

  constructor(options: FenceTakeoverOptions) {
    this.#options = options;
    this.#maxParity = options.maxParity;
  }

  progress(): FenceProgress {
    const { store, map } = this.#options;
    const complete = store.identity.fencesComplete;
    const needed = fencePeersNeeded(map.current(), store.identity.nodeId, this.#maxParity);
    return { complete, answered: [...this.#answered], needed, reason: complete ? '' : this.#reason };
  }

  /** Returns when the table is complete, or when the signal ends it. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, random, logger } = this.#options;
    let told = '';
    for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(MAX_DELAY_MS, delayMs * 2)) {
      // First a pause: a node that starts with a new cluster hears from control that there is nothing to take over.
      await clock.sleep(delayMs * (0.5 + random.float()), signal).catch(() => undefined);
      if (store.identity.fencesComplete || signal.aborted) return;
      try {
        await this.#round(signal);
      } catch (err) {
        if (!NabuError.is(err)) throw err;
        this.#reason = err.message; // the device: it may get better, and the node serves what it can
      }
      if (store.identity.fencesComplete || signal.aborted) return;
      if (this.#reason !== told) logger.warn('no log blobs yet: fences of peers are missing', { reason: this.#reason });
      told = this.#reason;
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { store, map, logger } = this.#options;
    const self = store.identity.nodeId;
    const members = map.current().nodes.filter(({ id, state }) => id !== self && state !== 'out');
    if (!map.current().nodes.some(({ id }) => id === self)) {
      this.#reason = 'the cluster map does not name it yet';
      return;
    }
    await this.#learnParity(signal);
    const missing: string[] = [];
    await Promise.all(
      members
        .filter(({ id }) => !this.#answered.has(id))
        .map(async (peer) => {
          const why = await this.#copyFrom(peer, signal);
          if (why === undefined) this.#answered.add(peer.id);
          else missing.push(`${peer.id} (${why})`);
        }),
    );
    const { needed } = this.progress();
    const answered = members.filter(({ id }) => this.#answered.has(id)).length;
    if (signal.aborted) return;
    if (answered < needed) {
      this.#reason = `${answered} of ${needed} peers gave theirs; missing: ${missing.sort().join(', ')}`;
      return;
    }
    await store.setFencesComplete();
    logger.info('fences taken over', { peers: [...this.#answered] });
  }

  async #learnParity(signal: AbortSignal): Promise<void> {
    const { askMaxParity } = this.#options;
    if (askMaxParity === undefined) return;
    try {
      this.#maxParity = Math.max(this.#maxParity, await askMaxParity(signal));
    } catch (err) {
      if (!NabuError.is(err, 'UNAVAILABLE', 'TIMEOUT', 'CANCELLED')) throw err;
    }
  }

  /** Undefined when the peer's whole table is ours now, else why not. */
  async #copyFrom(peer: MapNode, signal: AbortSignal): Promise<string | undefined> {
    const { clock, peerTimeoutMs = DEFAULT_PEER_TIMEOUT_MS } = this.#options;
    const options = { clock, operation: `reading the fences of ${peer.id}`, timeoutMs: peerTimeoutMs, parent: signal };
    try {
      return await withDeadline(options, (deadline) => this.#copyTable(peer, deadline));
    } catch (err) {
      if (NabuError.is(err)) return err.code;
      throw err;
    }
  }

  async #copyTable(peer: MapNode, deadline: Deadline): Promise<string | undefined> {
    const link = await this.#options.connect(peer, deadline);
    try {
      let after: VolumeId | undefined;
      for (;;) {
        const page: OwnerPage = await link.client.listOwners(after, MAX_OWNERS_PER_PAGE, { deadline });
        if (!page.fencesComplete) return 'its own table is incomplete';
        await this.#merge(page.owners);
        const last = page.owners.at(-1);
        if (last === undefined || page.owners.length < MAX_OWNERS_PER_PAGE) return undefined;
        after = last[0];
      }
    } finally {
      link.close();
    }
  }

  /** The store keeps the higher fence and the newer note of the two. */
  async #merge(owners: readonly (readonly [VolumeId, OwnerState])[]): Promise<void> {
    const { store } = this.#options;
    for (let at = 0; at < owners.length; at += PARALLEL_WRITES) {
      await Promise.all(
        owners.slice(at, at + PARALLEL_WRITES).map(([owner, { fence, homeSetVersion, note, noteVersion }]) => {
          const notes = note.length > 0 ? { note, noteVersion } : {};
          return store.setOwner(owner, { fence, homeSetVersion, ...notes });
        }),
      );
    }
  }
}
