import { NabuError } from '../../common/errors/index.ts';
import { BLOCK_BYTES } from '../blob/index.ts';
import {
  ANY_SHARD,
  checkWholeShard,
  decodeDegradedMark,
  decodeDelete,
  decodeLookupRequest,
  decodeReadRequest,
  decodeShardMeta,
  encodeLookupAnswers,
  encodePutAnswer,
  encodeReadFailure,
  malformed,
  SHARD_FLAG,
  type ShardSelector,
  shardMetaLength,
} from '../protocol/index.ts';
import type { Slab, Slot } from '../slab/index.ts';
import type { AppendResult, ShardStore, ShardSummary } from '../store/index.ts';
import type { Answer, IncomingRequest, PayloadRef } from '../transport/index.ts';

export type ShardServiceOptions = {
  readonly store: ShardStore;
  readonly slab: Slab;
  /** Why log blobs are not accepted yet; undefined when they are. */
  readonly fencesMissing: () => string | undefined;
};

/** The requests about shards: each is parsed, handed to the store by slab offset, and answered. */
export class ShardService {
  readonly #store: ShardStore;
  readonly #slab: Slab;
  readonly #fencesMissing: () => string | undefined;

  constructor({ store, slab, fencesMissing }: ShardServiceOptions) {
    this.#store = store;
    this.#slab = slab;
    this.#fencesMissing = fencesMissing;
  }

  async put(request: IncomingRequest): Promise<Answer> {
    const { meta, payload } = request;
    if (payload === undefined) throw malformed('a put without payload');
    const shard = decodeShardMeta(meta);
    checkWholeShard(shard, meta, payload.length);
    if ((shard.flags & SHARD_FLAG.log) !== 0) this.#checkFences();
    return { meta: encodePutAnswer(await this.#append(meta, payload)) };
  }

  read(request: IncomingRequest): Promise<Answer> | Answer {
    const select = decodeReadRequest(request.meta);
    if (this.#store.view === undefined) return this.#readCopy(request, select);
    const result = this.#store.view(select, select.askStamp);
    if (result.status !== 'ok') return { meta: encodeReadFailure(result.status) };
    const { meta, payload } = result;
    return { meta, payload };
  }

  async #readCopy(request: IncomingRequest, select: Required<ShardSelector>): Promise<Answer> {
    const capacity = select.rangeLength || (await this.#lengthToEnd(select));
    if (capacity === 0) return { meta: encodeReadFailure(await this.#whyNot(select)) };
    const lengthBytes = capacity + shardMetaLength(capacity);
    const slot = this.#roomNow(lengthBytes) ?? (await this.#slab.allocWait(lengthBytes, request.deadline));
    try {
      const { key, stripeId, shardIndex, rangeOffset, rangeLength } = select;
      const places = { payloadOffset: slot.offset, payloadCapacity: capacity, metaOutOffset: slot.offset + capacity };
      const result = await this.#store.read(
        { key, stripeId, shardIndex, rangeOffset, rangeLength, ...places },
        select.askStamp,
      );
      if (result.status === 'ok') {
        const meta = new Uint8Array(this.#slab.buffer, slot.offset + capacity, result.metaLength);
        return { meta, payload: { offset: slot.offset, length: result.payloadLength, slot } };
      }
      slot.release();
      return { meta: encodeReadFailure(result.status) };
    } catch (err) {
      slot.release();
      throw err;
    }
  }

  async lookup(request: IncomingRequest): Promise<Answer> {
    const { keys, askStamp } = decodeLookupRequest(request.meta);
    return { meta: encodeLookupAnswers(await this.#store.lookup(keys, askStamp)) };
  }

  async delete(request: IncomingRequest): Promise<Answer> {
    const { keys, stamp } = decodeDelete(request.meta);
    await Promise.all(keys.map((key) => this.#store.delete(key, stamp)));
    return {};
  }

  async markDegraded(request: IncomingRequest): Promise<Answer> {
    const { key, stripeId, missingMask } = decodeDegradedMark(request.meta);
    await this.#store.markDegraded(key, stripeId, missingMask);
    return {};
  }

  #checkFences(): void {
    const reason = this.#fencesMissing();
    if (reason !== undefined) {
      throw NabuError.of('FENCES_INCOMPLETE', { nodeId: this.#store.identity.nodeId, reason });
    }
  }

  #append(meta: Buffer, payload: PayloadRef): Promise<AppendResult> {
    if (meta.buffer === this.#slab.buffer) return this.#store.append(meta.byteOffset, payload.offset);
    return this.#appendCopy(meta, payload);
  }

  /** Another transport than tcp may hand over the descriptor elsewhere. */
  async #appendCopy(meta: Buffer, payload: PayloadRef): Promise<AppendResult> {
    const slot = this.#slab.alloc(meta.length);
    try {
      slot.bytes.set(meta);
      return await this.#store.append(slot.offset, payload.offset);
    } finally {
      slot.release();
    }
  }

  /** Memory for an answer, if there is some now. Whoever waits for longer than the request has is told so. */
  #roomNow(lengthBytes: number): Slot | undefined {
    if (lengthBytes > this.#slab.sizeBytes) {
      const reason = `a read of ${lengthBytes} bytes is more than this node's ${this.#slab.sizeBytes}`;
      throw NabuError.of('RESOURCE_EXHAUSTED', { resource: 'slab memory', reason });
    }
    return this.#slab.waiting === 0 ? this.#slab.tryAlloc(lengthBytes) : undefined;
  }

  /** Bytes from the range's start to the end of the longest shard that fits the request; 0 when there is none. */
  async #lengthToEnd(select: Required<ShardSelector>): Promise<number> {
    const [answer] = await this.#store.lookup([select.key], select.askStamp);
    let longest = 0;
    for (const shard of answer?.shards ?? []) {
      if (fits(shard, select)) longest = Math.max(longest, shard.shardLength - select.rangeOffset);
    }
    if (longest > 0 || answer === undefined || !answer.shards.some((shard) => fits(shard, select))) return longest;
    throw NabuError.of('OUT_OF_RANGE', {
      field: 'rangeOffset',
      reason: `${select.rangeOffset} is past the shard's end`,
    });
  }

  /** No shard fits: the store says whether that may be called absent. */
  async #whyNot(select: Required<ShardSelector>): Promise<'absent' | 'unknown' | 'corrupt'> {
    const slot = this.#slab.alloc(2 * BLOCK_BYTES);
    try {
      const range = { rangeOffset: 0, rangeLength: BLOCK_BYTES, payloadCapacity: BLOCK_BYTES };
      const places = { payloadOffset: slot.offset, metaOutOffset: slot.offset + BLOCK_BYTES };
      const { key, stripeId, shardIndex } = select;
      const result = await this.#store.read({ key, stripeId, shardIndex, ...range, ...places }, select.askStamp);
      return result.status === 'ok' ? 'unknown' : result.status; // ok: it came between the two questions
    } finally {
      slot.release();
    }
  }
}

function fits(shard: ShardSummary, select: Required<ShardSelector>): boolean {
  if (select.shardIndex !== ANY_SHARD && select.shardIndex !== shard.shardIndex) return false;
  return select.stripeId === null || Buffer.compare(select.stripeId, shard.stripeId) === 0;
}
