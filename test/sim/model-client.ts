import { type Deadline, raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import {
  type BlobKey,
  blobKey,
  blobKeyHex,
  contentKey,
  domainShardLimit,
  hexOf,
  type NodeId,
  ownerOf,
  type Policy,
  type Stamp,
  StampClock,
  shardCount,
  shardLengthOf,
  stripeId,
  stripeLengthOf,
  type VolumeId,
} from '../../engine/blob/index.ts';
import type {
  BlobStat,
  BlobStore,
  DeleteRequest,
  GetRequest,
  GetResult,
  ProbeAnswer,
  ProbeRequest,
  PutRequest,
  PutResult,
  PutStripeRequest,
  StatRequest,
  StripeBuffer,
} from '../../engine/client/index.ts';
import { ErasureCoders } from '../../engine/ec/index.ts';
import { encodeShardMeta, SHARD_FLAG, SHARD_KIND, shardMetaLength } from '../../engine/protocol/index.ts';
import type { Slab } from '../../engine/slab/index.ts';
import type { OwnerRange, OwnerState, OwnerUpdate } from '../../engine/store/index.ts';
import type { HomeNodes } from '../../engine/volume/home-nodes.ts';
import type { SimNetwork } from './sim-network.ts';
import type { SimStore } from './sim-store.ts';

export type ModelClientOptions = {
  readonly name: string;
  readonly slab: Slab;
  readonly network: SimNetwork;
  readonly clock: Clock;
  readonly random: Random;
  /** The store of a node that is running. */
  readonly storeOf: (node: NodeId) => SimStore | undefined;
};

const CALL_MS = 300;
/** A fence waits for what is under way, and the device. */
const OWNER_CALL_MS = 5000;
const RETRY_FIRST_MS = 30;
const RETRY_MOST_MS = 240;

/**
 * A blob client reduced to the write rules (shards on healthy nodes, at most m on one, at least W nodes) over the simulated network,
 * without connections, hedging and evidence. What is under test with it is the log of a volume, not the client.
 */
export class ModelClient implements BlobStore, HomeNodes {
  readonly #options: ModelClientOptions;
  readonly #coders: ErasureCoders;
  readonly #stamps: StampClock;

  constructor(options: ModelClientOptions) {
    this.#options = options;
    this.#coders = new ErasureCoders(options.slab.buffer);
    this.#stamps = new StampClock(options.clock);
  }

  async allocStripe(policy: Policy, blobLength: number): Promise<StripeBuffer> {
    return this.tryAllocStripe(policy, blobLength);
  }

  /** Throws RESOURCE_EXHAUSTED when there is no room: no test of the log is about memory. */
  tryAllocStripe(policy: Policy, blobLength: number): StripeBuffer {
    const slot = this.#options.slab.alloc(stripeLengthOf(policy, blobLength));
    return {
      slot,
      policy,
      blobLength,
      shardLength: shardLengthOf(policy, blobLength),
      bytes: slot.bytes.subarray(0, blobLength),
      release: () => slot.release(),
    };
  }

  async put(request: PutRequest): Promise<PutResult> {
    const stripe = await this.allocStripe(request.policy, request.data.length);
    try {
      stripe.slot.bytes.fill(0);
      stripe.bytes.set(request.data);
      return await this.putStripe({ ...request, stripe });
    } finally {
      stripe.release();
    }
  }

  async putStripe(request: PutStripeRequest): Promise<PutResult> {
    const { stripe, policy, deadline } = request;
    const encoded = await this.#coders
      .of(policy)
      .encodeStripe({ offset: stripe.slot.offset, shardLength: stripe.shardLength, blobLength: stripe.blobLength });
    const key = request.key === 'content' ? contentKey(stripe.bytes) : request.key;
    const stamp = this.#stamps.next();
    const placed = new Map<number, NodeId>();
    const home = request.log?.homeSet ?? [];
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      deadline.throwIfExpired();
      await this.#placeAll(request, key, stamp, encoded, placed, home);
      const used = new Set(placed.values()).size;
      // Of replicas a quorum of copies is enough, of a stripe only all shards are.
      const enough = policy.k === 1 ? policy.quorum : shardCount(policy);
      if (placed.size >= enough && used >= policy.quorum) break;
      await this.#options.clock.sleep(delayMs, deadline.signal);
    }
    const nodes = Array.from({ length: shardCount(policy) }, (_, index) => placed.get(index));
    return { key, stripeId: encoded.stripeId, nodes, degraded: false, hit: false };
  }

  /** One round: every shard that has no place yet tries nodes that may still take one, in an order of its own. */
  async #placeAll(
    request: PutStripeRequest,
    key: BlobKey,
    stamp: Stamp,
    encoded: { crcs: Uint32Array; stripeId: Uint8Array },
    placed: Map<number, NodeId>,
    home: readonly NodeId[],
  ): Promise<void> {
    const { policy } = request;
    const first = (key[0] ?? 0) % home.length;
    const failed = new Set<NodeId>();
    for (let share = 1; share <= domainShardLimit(policy); share++) {
      for (let round = 0; round < home.length; round++) {
        const missing = Array.from({ length: shardCount(policy) }, (_, index) => index).filter(
          (index) => !placed.has(index),
        );
        await Promise.all(
          missing.map(async (index) => {
            const node = home[(first + index + round) % home.length];
            if (node === undefined || failed.has(node)) return;
            if ([...placed.values()].filter((other) => other === node).length >= share) return;
            placed.set(index, node);
            const done = await this.#putShard(request, key, stamp, encoded, index, node).catch((err: unknown) => {
              placed.delete(index);
              if (NabuError.is(err, 'FENCED')) throw err;
              failed.add(node);
              return true;
            });
            if (!done) placed.delete(index);
          }),
        );
      }
    }
  }

  async #putShard(
    request: PutStripeRequest,
    key: BlobKey,
    stamp: Stamp,
    encoded: { crcs: Uint32Array; stripeId: Uint8Array },
    index: number,
    node: NodeId,
  ): Promise<boolean> {
    const { stripe, policy, log } = request;
    const blocks = stripe.shardLength / 4096;
    const meta = encodeShardMeta(
      {
        flags: log === undefined ? 0 : SHARD_FLAG.log,
        key,
        stripeId: stripeId(encoded.stripeId),
        owner: log === undefined ? new Uint8Array(16) : ownerOf(log.owner),
        writer: log?.epoch ?? { generation: 0n, incarnation: 0n },
        sequence: log?.sequence ?? 0n,
        stamp,
        blobLength: stripe.blobLength,
        shardLength: stripe.shardLength,
        k: policy.k,
        m: policy.m,
        shardIndex: index,
        kind: SHARD_KIND.shard,
        homeSetVersion: log?.homeSetVersion ?? 0n,
        mapEpoch: 1,
        missingMask: 0,
        rangeOffset: 0,
      },
      encoded.crcs.subarray(index * blocks, (index + 1) * blocks),
    );
    // The bytes are copied as they leave: the caller may go before they arrive.
    const head = this.#options.slab.alloc(shardMetaLength(stripe.shardLength));
    const body = this.#options.slab.alloc(stripe.shardLength);
    head.bytes.set(meta);
    body.bytes.set(stripe.slot.bytes.subarray(index * stripe.shardLength, (index + 1) * stripe.shardLength));
    const cleanUp = (): void => {
      head.release();
      body.release();
    };
    const result = await this.#call(node, request.deadline, (store) => store.append(head.offset, body.offset), cleanUp);
    return result !== 'deleted';
  }

  async get(request: GetRequest): Promise<GetResult> {
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
      const answers = await this.probe({ key: request.key, nodes: request.homeSet ?? [], deadline: request.deadline });
      const got = await this.#assemble(request, answers);
      if (got !== undefined) return got;
      const key = blobKeyHex(request.key);
      if ([...answers.values()].every(({ state }) => state === 'absent')) throw NabuError.of('BLOB_NOT_FOUND', { key });
      if (request.unreadable !== 'wait') {
        throw NabuError.of('BLOB_UNREADABLE', { key, found: 0, needed: request.policy.k, reason: 'nodes are silent' });
      }
      await this.#options.clock.sleep(delayMs, request.deadline.signal);
    }
  }

  async #assemble(request: GetRequest, answers: ReadonlyMap<NodeId, ProbeAnswer>): Promise<GetResult | undefined> {
    const holders = new Map<number, NodeId>();
    let shape: { k: number; m: number; blobLength: number; shardLength: number; stripeId: Uint8Array } | undefined;
    for (const [node, answer] of answers) {
      if (answer.state !== 'found') continue;
      for (const shard of answer.shards) {
        if (request.stripeId !== undefined && hexOf(request.stripeId) !== hexOf(shard.stripeId)) continue;
        shape ??= shard;
        if (hexOf(shape.stripeId) === hexOf(shard.stripeId)) holders.set(shard.shardIndex, node);
      }
    }
    if (shape === undefined || holders.size < shape.k) return undefined;
    const { k, m, blobLength, shardLength } = shape;
    const slot = this.#options.slab.alloc((k + m) * shardLength);
    let presentMask = 0;
    for (const [index, node] of holders) {
      if (presentMask.toString(2).split('1').length - 1 === k) break;
      const head = this.#options.slab.alloc(shardMetaLength(shardLength));
      const body = this.#options.slab.alloc(shardLength);
      const cleanUp = (): void => {
        head.release();
        body.release();
      };
      const selector = { key: request.key, stripeId: null, shardIndex: index, rangeOffset: 0, rangeLength: 0 };
      const room = { payloadOffset: body.offset, payloadCapacity: shardLength, metaOutOffset: head.offset };
      const read = await this.#call(
        node,
        request.deadline,
        async (store) => {
          const result = await store.read({ ...selector, ...room });
          if (result.status === 'ok') slot.bytes.set(body.bytes, index * shardLength);
          return result.status;
        },
        cleanUp,
      ).catch(() => 'silent');
      if (read === 'ok') presentMask |= 1 << index;
    }
    if (presentMask.toString(2).split('1').length - 1 < k) {
      slot.release();
      return undefined;
    }
    const wantedMask = ((1 << k) - 1) & ~presentMask;
    if (wantedMask !== 0) {
      const offsets = Array.from({ length: k + m }, (_, index) =>
        ((presentMask | wantedMask) >> index) & 1 ? slot.offset + index * shardLength : -1,
      );
      await this.#coders.of({ k, m }).reconstruct({ offsets, presentMask, wantedMask, shardLength });
    }
    const { offset, length } = request.range ?? { offset: 0, length: blobLength };
    return { slot, offset, length, blobLength, stripeId: stripeId(shape.stripeId), decoded: wantedMask !== 0 };
  }

  async exists(request: StatRequest): Promise<boolean> {
    return (await this.stat(request)).shards.some((node) => node !== undefined);
  }

  async stat(request: StatRequest): Promise<BlobStat> {
    const answers = await this.probe({ key: request.key, nodes: request.homeSet ?? [], deadline: request.deadline });
    const shards: (NodeId | undefined)[] = [];
    let shape: { k: number; m: number; blobLength: number; stripeId: Uint8Array } | undefined;
    for (const [node, answer] of answers) {
      if (answer.state !== 'found') continue;
      for (const shard of answer.shards) {
        shape ??= shard;
        shards[shard.shardIndex] = node;
      }
    }
    const silent = [...answers].filter(([, { state }]) => state === 'silent').map(([node]) => node);
    const { k = 0, m = 0, blobLength = 0, stripeId: id = new Uint8Array(16) } = shape ?? {};
    return { key: blobKey(request.key), stripeId: stripeId(id), blobLength, k, m, shards, silent };
  }

  async delete(request: DeleteRequest): Promise<void> {
    const stamp = this.#stamps.next();
    const nodes: NodeId[] = [];
    await Promise.all(
      (request.homeSet ?? []).map((node) =>
        this.#call(node, request.deadline, async (store) => {
          for (const key of request.keys) await store.delete(key, stamp);
        }).catch(() => void nodes.push(node)),
      ),
    );
    if (nodes.length > 0) {
      const [key] = request.keys;
      throw NabuError.of('BLOB_UNKNOWN', {
        key: key === undefined ? '' : blobKeyHex(key),
        reason: 'nodes are silent',
        nodes,
      });
    }
  }

  async probe(request: ProbeRequest): Promise<Map<NodeId, ProbeAnswer>> {
    const entries = await Promise.all(
      request.nodes.map(async (node): Promise<[NodeId, ProbeAnswer]> => {
        try {
          const [answer] = await this.#call(node, request.deadline, (store) =>
            store.lookup([request.key], request.askStamp),
          );
          if (answer === undefined) return [node, { state: 'silent', reason: 'no answer' }];
          return [node, answer.state === 'found' ? { state: 'found', shards: answer.shards } : { state: answer.state }];
        } catch (err) {
          request.deadline.throwIfExpired();
          return [node, { state: 'silent', reason: String(err) }];
        }
      }),
    );
    return new Map(entries);
  }

  async setOwner(node: NodeId, owner: VolumeId, update: OwnerUpdate, deadline: Deadline): Promise<OwnerState> {
    return await this.#call(node, deadline, (store) => store.setOwner(owner, update), undefined, OWNER_CALL_MS);
  }

  async deleteOwnerRange(
    node: NodeId,
    owner: VolumeId,
    range: OwnerRange,
    stamp: Stamp,
    deadline: Deadline,
  ): Promise<void> {
    await this.#call(node, deadline, (store) => store.deleteOwnerRange(owner, range, stamp));
  }

  /** The request may arrive after the caller gave up, and its effect may be there although the answer was lost. */
  async #call<T>(
    node: NodeId,
    deadline: Deadline,
    work: (store: SimStore) => Promise<T>,
    cleanUp: () => void = () => undefined,
    timeoutMs = CALL_MS,
  ): Promise<T> {
    const { network, name } = this.#options;
    using inner = deadline.within(`calling ${node}`, timeoutMs);
    const lost = NabuError.of('UNAVAILABLE', { target: node, reason: 'lost on the way' });
    const exchange = async (): Promise<T> => {
      if (!(await network.travel(name, node))) throw lost;
      const store = this.#options.storeOf(node);
      if (store === undefined) throw lost;
      const outcome = await work(store).then(
        (value) => () => value,
        (err: unknown) => () => {
          throw err;
        },
      );
      if (!(await network.travel(node, name)) || this.#options.storeOf(node) !== store) throw lost;
      return outcome();
    };
    return await raceAbort(exchange().finally(cleanUp), inner.signal, `calling ${node}`);
  }
}
