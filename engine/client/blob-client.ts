import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Random } from '../../common/ports/index.ts';
import {
  type BlobKey,
  blobKeyHex,
  checkBlobLength,
  contentKey,
  type NodeId,
  type Policy,
  StampClock,
  shardCount,
  shardLengthOf,
} from '../blob/index.ts';
import { type ErasureCoder, ErasureCoders } from '../ec/index.ts';
import type { MapSource } from '../placement/index.ts';
import type { Slab, Slot } from '../slab/index.ts';
import type { CallDeadline, Transport } from '../transport/index.ts';
import { BlobDeleter } from './blob-deleter.ts';
import { BlobReader } from './blob-reader.ts';
import { DegradedRecorder } from './degraded-recorder.ts';
import type { NodeConnector } from './node-connector.ts';
import { NodeHealth } from './node-health.ts';
import { Placements } from './placements.ts';
import { probeNode } from './probe.ts';
import { ReadLatency } from './read-latency.ts';
import { locateStripes } from './shard-sources.ts';
import { bufferedShards, encodeBlob } from './stripe-encoder.ts';
import type { ReadCounters } from './stripe-read.ts';
import { CoveredByTombstone, StripeWriter } from './stripe-writer.ts';
import { TransportConnector } from './transport-connector.ts';
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
} from './types.ts';

export type ClientLimits = {
  readonly connectTimeoutMs?: number;
  /** A node that owes answers and gives none for this long is taken for dead. */
  readonly stallMs?: number;
  /** How long one node may take to say what it has of a key. */
  readonly probeTimeoutMs?: number;
  readonly firstRetryMs?: number;
  readonly lastRetryMs?: number;
};

export type BlobClientOptions = {
  readonly slab: Slab;
  /** Either a transport, or another way to reach nodes. */
  readonly transport: Transport | NodeConnector;
  readonly maps: MapSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: ClientLimits;
  /** Default: native codes over the slab. */
  readonly coders?: { of(policy: Policy): ErasureCoder };
  /** Names this client in the nodes' logs. */
  readonly label?: string;
};

const DEFAULT_STALL_MS = 3000;
const DEFAULT_PROBE_MS = 2000;
const TOMBSTONE_RETRIES = 3;

/** Puts and gets blobs straight on the storage nodes (DESIGN sections 7 and 8). One per process. */
export class BlobClient implements BlobStore {
  readonly counters: ReadCounters & { puts: number; degradedPuts: number } = {
    reads: 0,
    hedges: 0,
    decodes: 0,
    corruptShards: 0,
    failedShards: 0,
    puts: 0,
    degradedPuts: 0,
  };
  /** Of this process: stamps its writes and is ahead of everything it saw. */
  readonly stamps: StampClock;
  readonly #options: BlobClientOptions;
  readonly #health: NodeHealth;
  readonly #placements: Placements;
  readonly #coders: { of(policy: Policy): ErasureCoder };
  readonly #reader: BlobReader;
  readonly #recorder: DegradedRecorder;
  readonly #deleter: BlobDeleter;
  readonly #probeMs: number;

  constructor(options: BlobClientOptions) {
    const { slab, transport, maps, clock, random, logger, limits = {} } = options;
    this.#options = options;
    this.stamps = new StampClock(clock);
    this.#coders = options.coders ?? new ErasureCoders(slab.buffer);
    this.#placements = new Placements(maps);
    const connector =
      'listen' in transport
        ? new TransportConnector({
            transport,
            maps,
            clock,
            stallMs: limits.stallMs ?? DEFAULT_STALL_MS,
            label: options.label ?? 'blob client',
          })
        : transport;
    const { connectTimeoutMs, firstRetryMs, lastRetryMs } = limits;
    this.#health = new NodeHealth({
      connector,
      maps,
      clock,
      random,
      logger,
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(firstRetryMs === undefined ? {} : { firstRetryMs }),
      ...(lastRetryMs === undefined ? {} : { lastRetryMs }),
    });
    this.#probeMs = limits.probeTimeoutMs ?? DEFAULT_PROBE_MS;
    this.#reader = new BlobReader({
      slab,
      coderOf: (policy) => this.#coders.of(policy),
      health: this.#health,
      clock,
      logger,
      latency: new ReadLatency(),
      counters: this.counters,
      placements: this.#placements,
      probeTimeoutMs: this.#probeMs,
    });
    this.#recorder = new DegradedRecorder({ health: this.#health, clock, logger });
    this.#deleter = new BlobDeleter({ health: this.#health, placements: this.#placements, stamps: this.stamps });
  }

  /** Evidence of who is alive, and each node's calls. */
  nodes(): NodeHealth {
    return this.#health;
  }

  tryAllocStripe(policy: Policy, blobLength: number): StripeBuffer | undefined {
    checkBlobLength(blobLength);
    const { slab } = this.#options;
    if (slab.waiting > 0) return undefined;
    const slot = slab.tryAlloc(stripeBytes(policy, blobLength));
    return slot === undefined ? undefined : stripeIn(slot, policy, blobLength);
  }

  async allocStripe(policy: Policy, blobLength: number, deadline: CallDeadline): Promise<StripeBuffer> {
    const now = this.tryAllocStripe(policy, blobLength);
    if (now !== undefined) return now;
    const slot = await this.#options.slab.allocWait(stripeBytes(policy, blobLength), deadline);
    return stripeIn(slot, policy, blobLength);
  }

  async put(request: PutRequest): Promise<PutResult> {
    const { data, ...options } = request;
    const stripe = await this.allocStripe(request.policy, data.length, request.deadline);
    try {
      stripe.bytes.set(data);
      return await this.putStripe({ ...options, stripe });
    } finally {
      stripe.release();
    }
  }

  async putStripe(request: PutStripeRequest): Promise<PutResult> {
    const { stripe, policy, log } = request;
    if (stripe.policy.k !== policy.k || stripe.policy.m !== policy.m) {
      throw NabuError.of('INVALID_ARGUMENT', {
        field: 'stripe',
        reason: `is laid out for ${stripe.policy.name}, not ${policy.name}`,
      });
    }
    request.deadline.throwIfExpired();
    const coder = policy.k === 1 ? undefined : this.#coders.of(policy);
    const blob = await encodeBlob(this.#options.slab.buffer, coder, { ...stripe, policy });
    const key = request.key === 'content' ? contentKey(stripe.bytes) : request.key;
    const place = () => this.#placements.forWrite(key, policy, request, log?.homeSet);
    const { clock, logger } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const job = { key, blob, stamp: this.stamps.next(), options: request, place };
      try {
        const result = await new StripeWriter(job, { health: this.#health, clock, logger }).write();
        this.counters.puts++;
        if (result.degraded) await this.#recordDegraded(result, result.missingMask, result.recorded, request.deadline);
        const { stripeId, nodes, degraded, hit } = result;
        return { key, stripeId, nodes, degraded, hit };
      } catch (err) {
        if (!(err instanceof CoveredByTombstone)) throw err;
        if (log !== undefined || attempt > TOMBSTONE_RETRIES) throw coveredError(key);
        await this.#learnTombstone(key, err.node, request.deadline);
      }
    }
  }

  async get(request: GetRequest): Promise<GetResult> {
    return await this.#reader.read(request);
  }

  async exists(request: StatRequest): Promise<boolean> {
    try {
      await this.stat(request);
      return true;
    } catch (err) {
      if (NabuError.is(err, 'BLOB_NOT_FOUND')) return false;
      throw err;
    }
  }

  /** BLOB_NOT_FOUND, BLOB_UNREADABLE, BLOB_UNKNOWN, BLOB_LOST as for a get. */
  async stat(request: StatRequest): Promise<BlobStat> {
    const { key, policy, homeSet, deadline } = request;
    const place = this.#placements.forRead(key, policy, request, homeSet);
    const answers = await this.probe({ key, nodes: place.walk, deadline });
    const bad = new Set<string>();
    const stripe = locateStripes(answers, policy, bad)[0];
    if (stripe === undefined || stripe.found < policy.k) throw this.#reader.verdictOf(key, policy, answers);
    const silent = [...answers].filter(([, { state }]) => state === 'silent').map(([node]) => node);
    return {
      key,
      stripeId: stripe.stripeId,
      blobLength: stripe.blobLength,
      k: policy.k,
      m: policy.m,
      shards: Array.from({ length: shardCount(policy) }, (_, shard) => stripe.sources[shard]?.[0]),
      silent,
    };
  }

  async delete(request: DeleteRequest): Promise<void> {
    await this.#deleter.delete(request);
  }

  async probe({ key, nodes, askStamp = 0n, deadline, nodeTimeoutMs }: ProbeRequest): Promise<Map<NodeId, ProbeAnswer>> {
    const ports = { health: this.#health, clock: this.#options.clock, mapEpoch: () => this.#placements.map.epoch };
    const asked = nodes.map(
      async (node) =>
        [node, await probeNode(ports, node, key, askStamp, deadline, nodeTimeoutMs ?? this.#probeMs)] as const,
    );
    return new Map(await Promise.all(asked));
  }

  /** Drops all connections. What is in flight fails. */
  close(): void {
    this.#health.close();
    this.#placements.close();
  }

  async #recordDegraded(
    result: PutResult,
    missingMask: number,
    recorded: boolean,
    deadline: CallDeadline,
  ): Promise<void> {
    this.counters.degradedPuts++;
    const holders = [...new Set(result.nodes.filter((node) => node !== undefined))];
    const mark = { key: result.key, stripeId: result.stripeId, missingMask };
    if (recorded) this.#recorder.recordLater(mark, holders);
    else await this.#recorder.record(mark, holders, deadline);
  }

  async #learnTombstone(key: BlobKey, node: NodeId, deadline: CallDeadline): Promise<void> {
    const answers = await this.#health.call(node).lookup([key], 0n, { deadline });
    this.stamps.merge(answers[0]?.deletedStamp ?? 0n);
  }
}

function stripeBytes(policy: Policy, blobLength: number): number {
  return bufferedShards(policy) * shardLengthOf(policy, blobLength);
}

function stripeIn(slot: Slot, policy: Policy, blobLength: number): StripeBuffer {
  return {
    slot,
    policy,
    blobLength,
    shardLength: shardLengthOf(policy, blobLength),
    bytes: slot.bytes.subarray(0, blobLength),
    release: () => slot.release(),
  };
}

function coveredError(key: BlobKey): NabuError {
  return NabuError.of('ABORTED', { operation: `writing blob ${blobKeyHex(key)}`, reason: 'it was deleted meanwhile' });
}
