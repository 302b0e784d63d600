import { NabuError } from '../../common/errors/index.ts';
import { type BlobKey, blobKeyHex, type NodeId, type Stamp, type StampClock } from '../blob/index.ts';
import { type CallOptions, MAX_DELETE_KEYS } from '../protocol/index.ts';
import type { NodeHealth } from './node-health.ts';
import type { Placements } from './placements.ts';
import type { DeleteRequest } from './types.ts';

export type BlobDeleterOptions = {
  readonly health: NodeHealth;
  readonly placements: Placements;
  readonly stamps: StampClock;
};

/** Rounds of stamping after what was found. More than two take a writer that does not end. */
const MAX_ROUNDS = 4;

/** Leaves a tombstone on every node that may hold a shard: one message to a node, however many blobs. */
export class BlobDeleter {
  readonly #options: BlobDeleterOptions;

  constructor(options: BlobDeleterOptions) {
    this.#options = options;
  }

  /**
   * Idempotent. Throws BLOB_UNKNOWN with the nodes that did not confirm: the blobs may come back with them. A tombstone covers only
   * what is stamped before it, and whoever put a blob may have a clock that is ahead of ours: then one more round is stamped after that.
   */
  async delete({ keys, policy, homeSet, deadline, ...spread }: DeleteRequest): Promise<void> {
    if (keys.length > MAX_DELETE_KEYS) {
      const reason = `${keys.length} are more than ${MAX_DELETE_KEYS}`;
      throw NabuError.of('INVALID_ARGUMENT', { field: 'keys', reason });
    }
    const { placements, stamps } = this.#options;
    let left: readonly BlobKey[] = keys;
    for (let round = 1; round <= MAX_ROUNDS && left.length > 0; round++) {
      const byNode = new Map<NodeId, BlobKey[]>();
      let mapEpoch = 0;
      for (const key of left) {
        const { walk, epoch } = placements.forRead(key, policy, spread, homeSet);
        mapEpoch = epoch;
        for (const node of walk) append(byNode, node, key);
      }
      const stamp = stamps.next();
      const buried = await Promise.all(
        [...byNode].map(async ([node, asked]) => ({
          node,
          later: await this.#bury(node, asked, stamp, { deadline, mapEpoch }),
        })),
      );
      deadline.throwIfExpired();
      const silent = buried.filter(({ later }) => later === undefined).map(({ node }) => node);
      if (silent.length > 0) throw notDeleted(left, `${silent.join(', ')} did not confirm its deletion`, silent);
      const again = new Set<BlobKey>();
      for (const { later = [] } of buried) {
        for (const { key, newest } of later) {
          stamps.merge(newest);
          again.add(key);
        }
      }
      left = [...again];
    }
    if (left.length > 0) throw notDeleted(left, 'it is being written again and again', []);
  }

  /** Resolves with the keys of which the node has something newer than the tombstone; undefined when it did not confirm. */
  async #bury(
    node: NodeId,
    keys: readonly BlobKey[],
    stamp: Stamp,
    options: CallOptions,
  ): Promise<{ readonly key: BlobKey; readonly newest: Stamp }[] | undefined> {
    const client = this.#options.health.call(node);
    try {
      // Side by side: shards that the tombstones cover do not matter, whether they are still seen or not.
      const [answers] = await Promise.all([client.lookup(keys, 0n, options), client.delete(keys, stamp, options)]);
      return keys.flatMap((key, at) => {
        let newest = 0n;
        for (const shard of answers[at]?.shards ?? []) if (shard.stamp > newest) newest = shard.stamp;
        return newest > stamp ? [{ key, newest }] : [];
      });
    } catch {
      return undefined;
    }
  }
}

function append(byNode: Map<NodeId, BlobKey[]>, node: NodeId, key: BlobKey): void {
  const keys = byNode.get(node);
  if (keys === undefined) byNode.set(node, [key]);
  else keys.push(key);
}

function notDeleted(keys: readonly BlobKey[], reason: string, nodes: readonly NodeId[]): NabuError {
  const [key] = keys;
  return NabuError.of('BLOB_UNKNOWN', { key: key === undefined ? '' : blobKeyHex(key), reason, nodes: [...nodes] });
}
