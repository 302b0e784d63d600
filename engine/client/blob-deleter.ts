import { NabuError } from '../../common/errors/index.ts';
import { blobKeyHex, type NodeId, type StampClock } from '../blob/index.ts';
import type { NodeHealth } from './node-health.ts';
import type { Placements } from './placements.ts';
import type { StatRequest } from './types.ts';

export type BlobDeleterOptions = {
  readonly health: NodeHealth;
  readonly placements: Placements;
  readonly stamps: StampClock;
};

/** Leaves a tombstone on every node that may hold a shard. */
export class BlobDeleter {
  readonly #options: BlobDeleterOptions;

  constructor(options: BlobDeleterOptions) {
    this.#options = options;
  }

  /** Idempotent. Throws BLOB_UNKNOWN with the nodes that did not confirm: the blob may come back with them. */
  async delete({ key, policy, homeSet, deadline, ...spread }: StatRequest): Promise<void> {
    const { health, placements, stamps } = this.#options;
    const { walk, epoch: mapEpoch } = placements.forRead(key, policy, spread, homeSet);
    const stamp = stamps.next();
    const outcomes = await Promise.all(
      walk.map(async (node) => {
        try {
          await health.call(node).delete(key, stamp, { deadline, mapEpoch });
          return undefined;
        } catch {
          return node;
        }
      }),
    );
    deadline.throwIfExpired();
    const nodes = outcomes.filter((node): node is NodeId => node !== undefined);
    if (nodes.length === 0) return;
    const reason = `${nodes.join(', ')} did not confirm its deletion`;
    throw NabuError.of('BLOB_UNKNOWN', { key: blobKeyHex(key), reason, nodes });
  }
}
