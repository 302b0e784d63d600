import type { BlobKey, StripeId, VolumeId } from '../blob/index.ts';
import { type ClusterMap, parseClusterMapText } from '../placement/index.ts';
import type { AppendResult, LookupAnswer, OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';
import type { Connection, PayloadRef, Reply } from '../transport/index.ts';
import { ByteReader } from './byte-reader.ts';
import { malformed } from './malformed.ts';
import type { CallOptions, NodeClient, PutShard, ShardRead } from './node-client.ts';
import { OP } from './op.ts';
import {
  decodeOwnerPage,
  decodeOwnerState,
  encodeListOwners,
  encodeOwner,
  encodeOwnerRange,
  encodeSetOwner,
  type OwnerPage,
} from './owner-ops.ts';
import { decodeShardCrcs, decodeShardMeta, SHARD_META_BYTES, type ShardMeta } from './shard-meta.ts';
import {
  ANY_SHARD,
  decodeLookupAnswers,
  decodePutAnswer,
  decodeReadFailure,
  encodeDegradedMark,
  encodeDelete,
  encodeLookupRequest,
  encodeReadRequest,
  type ShardSelector,
} from './shard-ops.ts';
import { decodeError, STATUS_OK } from './wire-error.ts';

const NOTHING = Buffer.alloc(0);

type Call = {
  readonly op: number;
  readonly meta: Uint8Array;
  readonly payload?: PayloadRef;
  readonly receive?: (payloadLength: number) => PayloadRef;
};

/** A node's calls over one connection. */
export class RemoteNode implements NodeClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async putShard(shard: PutShard, o: CallOptions): Promise<AppendResult> {
    return decodePutAnswer((await this.#call({ op: OP.putShard, ...shard }, o)).meta);
  }

  async readShard(
    select: ShardSelector,
    into: (payloadLength: number) => PayloadRef,
    o: CallOptions,
  ): Promise<ShardRead> {
    const reply = await this.#call({ op: OP.readShard, meta: encodeReadRequest(select), receive: into }, o);
    const { payload } = reply;
    if (payload === undefined) return { status: decodeReadFailure(reply.meta) };
    const meta = decodeShardMeta(reply.meta);
    checkAnswers(select, meta, (reply.meta.length - SHARD_META_BYTES) * 1024, payload.length);
    return { status: 'ok', meta, crcs: decodeShardCrcs(reply.meta), payload };
  }

  async lookup(keys: readonly BlobKey[], askStamp: bigint, o: CallOptions): Promise<LookupAnswer[]> {
    if (keys.length === 0) return [];
    const { meta } = await this.#call({ op: OP.lookup, meta: encodeLookupRequest(keys, askStamp) }, o);
    return decodeLookupAnswers(meta, keys.length);
  }

  async delete(key: BlobKey, stamp: bigint, o: CallOptions): Promise<void> {
    await this.#call({ op: OP.delete, meta: encodeDelete(key, stamp) }, o);
  }

  async deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint, o: CallOptions): Promise<void> {
    await this.#call({ op: OP.deleteOwnerRange, meta: encodeOwnerRange(owner, range, stamp) }, o);
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate, o: CallOptions): Promise<OwnerState> {
    const { meta } = await this.#call({ op: OP.setOwner, meta: encodeSetOwner(owner, update) }, o);
    const state = decodeOwnerState(meta);
    if (state === undefined) throw malformed('an owner update was answered without a state');
    return state;
  }

  async getOwner(owner: VolumeId, o: CallOptions): Promise<OwnerState | undefined> {
    return decodeOwnerState((await this.#call({ op: OP.getOwner, meta: encodeOwner(owner) }, o)).meta);
  }

  async listOwners(after: VolumeId | undefined, limit: number, o: CallOptions): Promise<OwnerPage> {
    return decodeOwnerPage((await this.#call({ op: OP.listOwners, meta: encodeListOwners(after, limit) }, o)).meta);
  }

  async getMap(o: CallOptions): Promise<ClusterMap> {
    return parseClusterMapText((await this.#call({ op: OP.mapGet, meta: NOTHING }, o)).meta, "a node's map");
  }

  async setMap(map: ClusterMap, o: CallOptions): Promise<number> {
    const { meta } = await this.#call({ op: OP.mapSet, meta: Buffer.from(JSON.stringify(map)) }, o);
    const read = new ByteReader(meta, 'map answer');
    const epoch = read.safe64();
    read.end();
    return epoch;
  }

  async stats(o: CallOptions): Promise<Readonly<Record<string, unknown>>> {
    const { meta } = await this.#call({ op: OP.stats, meta: NOTHING }, o);
    let value: unknown;
    try {
      value = JSON.parse(meta.toString('utf8'));
    } catch {
      throw malformed('statistics that are not JSON');
    }
    if (typeof value !== 'object' || value === null) throw malformed('statistics that are no object');
    return { ...value };
  }

  async markDegraded(key: BlobKey, stripeId: StripeId, missingMask: number, o: CallOptions): Promise<void> {
    await this.#call({ op: OP.markDegraded, meta: encodeDegradedMark({ key, stripeId, missingMask }) }, o);
  }

  async ping(o: CallOptions): Promise<void> {
    await this.#call({ op: OP.ping, meta: NOTHING }, o);
  }

  async #call(call: Call, o: CallOptions): Promise<Reply> {
    const reply = await this.#connection.request({
      op: call.op,
      meta: call.meta,
      payload: call.payload,
      receive: call.receive,
      deadline: o.deadline,
      signal: o.signal,
      mapEpoch: o.mapEpoch ?? 0,
    });
    if (reply.status !== STATUS_OK) throw decodeError(reply.meta);
    return reply;
  }
}

/** A node that answers with another shard, or another piece of it, than was asked for is wrong in a way no checksum shows. */
function checkAnswers(select: ShardSelector, meta: ShardMeta, coveredBytes: number, payloadLength: number): void {
  const wrong =
    Buffer.compare(select.key, meta.key) !== 0 ||
    (select.stripeId !== null && Buffer.compare(select.stripeId, meta.stripeId) !== 0) ||
    (select.shardIndex !== ANY_SHARD && select.shardIndex !== meta.shardIndex) ||
    select.rangeOffset !== meta.rangeOffset ||
    coveredBytes !== payloadLength ||
    (select.rangeLength !== 0 && select.rangeLength !== payloadLength);
  if (wrong) throw malformed('a read was answered with another piece');
}
