import type { BlobKey, StripeId, VolumeId } from '../blob/index.ts';
import { type ClusterMap, parseClusterMapText } from '../placement/index.ts';
import type { AppendResult, LookupAnswer, OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';
import type { Connection, OutgoingRequest, PayloadRef, Reply } from '../transport/index.ts';
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

/** A node's calls over one connection. */
export class RemoteNode implements NodeClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  // Shards go without async functions: on their path each promise more is a microsecond more.
  putShard({ meta, payload }: PutShard, o: CallOptions): Promise<AppendResult> {
    return this.#request(OP.putShard, meta, payload, undefined, o).then(decodePutReply);
  }

  readShard(select: ShardSelector, into: (payloadLength: number) => PayloadRef, o: CallOptions): Promise<ShardRead> {
    const asked = this.#request(OP.readShard, encodeReadRequest(select), undefined, into, o);
    return asked.then((reply) => decodeReadReply(select, reply));
  }

  async lookup(keys: readonly BlobKey[], askStamp: bigint, o: CallOptions): Promise<LookupAnswer[]> {
    if (keys.length === 0) return [];
    const { meta } = await this.#call(OP.lookup, encodeLookupRequest(keys, askStamp), o);
    return decodeLookupAnswers(meta, keys.length);
  }

  async delete(keys: readonly BlobKey[], stamp: bigint, o: CallOptions): Promise<void> {
    await this.#call(OP.delete, encodeDelete(keys, stamp), o);
  }

  async deleteOwnerRange(owner: VolumeId, range: OwnerRange, stamp: bigint, o: CallOptions): Promise<void> {
    await this.#call(OP.deleteOwnerRange, encodeOwnerRange(owner, range, stamp), o);
  }

  async setOwner(owner: VolumeId, update: OwnerUpdate, o: CallOptions): Promise<OwnerState> {
    const { meta } = await this.#call(OP.setOwner, encodeSetOwner(owner, update), o);
    const state = decodeOwnerState(meta);
    if (state === undefined) throw malformed('an owner update was answered without a state');
    return state;
  }

  async getOwner(owner: VolumeId, o: CallOptions): Promise<OwnerState | undefined> {
    return decodeOwnerState((await this.#call(OP.getOwner, encodeOwner(owner), o)).meta);
  }

  async listOwners(after: VolumeId | undefined, limit: number, o: CallOptions): Promise<OwnerPage> {
    return decodeOwnerPage((await this.#call(OP.listOwners, encodeListOwners(after, limit), o)).meta);
  }

  async getMap(o: CallOptions): Promise<ClusterMap> {
    return parseClusterMapText((await this.#call(OP.mapGet, NOTHING, o)).meta, "a node's map");
  }

  async setMap(map: ClusterMap, o: CallOptions): Promise<number> {
    const { meta } = await this.#call(OP.mapSet, Buffer.from(JSON.stringify(map)), o);
    const read = new ByteReader(meta, 'map answer');
    const epoch = read.safe64();
    read.end();
    return epoch;
  }

  async stats(o: CallOptions): Promise<Readonly<Record<string, unknown>>> {
    const { meta } = await this.#call(OP.stats, NOTHING, o);
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
    await this.#call(OP.markDegraded, encodeDegradedMark({ key, stripeId, missingMask }), o);
  }

  async ping(o: CallOptions): Promise<void> {
    await this.#call(OP.ping, NOTHING, o);
  }

  async #call(op: number, meta: Uint8Array, o: CallOptions): Promise<Reply> {
    return checked(await this.#request(op, meta, undefined, undefined, o));
  }

  #request(
    op: number,
    meta: Uint8Array,
    payload: PayloadRef | undefined,
    receive: OutgoingRequest['receive'],
    { deadline, signal, mapEpoch = 0 }: CallOptions,
  ): Promise<Reply> {
    return this.#connection.request({ op, meta, payload, receive, deadline, signal, mapEpoch });
  }
}

function checked(reply: Reply): Reply {
  if (reply.status !== STATUS_OK) throw decodeError(reply.meta);
  return reply;
}

function decodePutReply(reply: Reply): AppendResult {
  return decodePutAnswer(checked(reply).meta);
}

function decodeReadReply(select: ShardSelector, reply: Reply): ShardRead {
  const { payload, meta: bytes } = checked(reply);
  if (payload === undefined) return { status: decodeReadFailure(bytes) };
  const meta = decodeShardMeta(bytes);
  checkAnswers(select, meta, (bytes.length - SHARD_META_BYTES) * 1024, payload.length);
  return { status: 'ok', meta, crcs: decodeShardCrcs(bytes), payload };
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
