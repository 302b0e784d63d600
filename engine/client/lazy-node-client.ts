import type { BlobKey, StripeId, VolumeId } from '../blob/index.ts';
import type { ClusterMap } from '../placement/index.ts';
import type { CallOptions, NodeClient, PutShard, ShardRead } from '../protocol/index.ts';
import type { AppendResult, LookupAnswer, OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';
import type { CallDeadline, PayloadRef } from '../transport/index.ts';

type Connected = (deadline: CallDeadline) => Promise<NodeClient>;

/** A node's calls over whatever connection there is when the call is made. */
export class LazyNodeClient implements NodeClient {
  readonly #connected: Connected;

  constructor(connected: Connected) {
    this.#connected = connected;
  }

  async putShard(shard: PutShard, o: CallOptions): Promise<AppendResult> {
    return await (await this.#connected(o.deadline)).putShard(shard, o);
  }

  async readShard(
    select: Parameters<NodeClient['readShard']>[0],
    into: (payloadLength: number) => PayloadRef,
    o: CallOptions,
  ): Promise<ShardRead> {
    return await (await this.#connected(o.deadline)).readShard(select, into, o);
  }

  async lookup(keys: readonly BlobKey[], askStamp: bigint, o: CallOptions): Promise<LookupAnswer[]> {
    return await (await this.#connected(o.deadline)).lookup(keys, askStamp, o);
  }

  async delete(keys: readonly BlobKey[], stamp: bigint, o: CallOptions): Promise<void> {
    await (await this.#connected(o.deadline)).delete(keys, stamp, o);
  }

  async deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint, o: CallOptions): Promise<void> {
    await (await this.#connected(o.deadline)).deleteOwnerRange(owner, range, stamp, o);
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate, o: CallOptions): Promise<OwnerState> {
    return await (await this.#connected(o.deadline)).setOwner(owner, update, o);
  }

  async getOwner(owner: VolumeId, o: CallOptions): Promise<OwnerState | undefined> {
    return await (await this.#connected(o.deadline)).getOwner(owner, o);
  }

  async listOwners(after: VolumeId | undefined, limit: number, o: CallOptions): ReturnType<NodeClient['listOwners']> {
    return await (await this.#connected(o.deadline)).listOwners(after, limit, o);
  }

  async getMap(o: CallOptions): Promise<ClusterMap> {
    return await (await this.#connected(o.deadline)).getMap(o);
  }

  async setMap(map: ClusterMap, o: CallOptions): Promise<number> {
    return await (await this.#connected(o.deadline)).setMap(map, o);
  }

  async stats(o: CallOptions): Promise<Readonly<Record<string, unknown>>> {
    return await (await this.#connected(o.deadline)).stats(o);
  }

  async markDegraded(key: BlobKey, stripe: StripeId, missingMask: number, o: CallOptions): Promise<void> {
    await (await this.#connected(o.deadline)).markDegraded(key, stripe, missingMask, o);
  }

  async ping(o: CallOptions): Promise<void> {
    await (await this.#connected(o.deadline)).ping(o);
  }
}
