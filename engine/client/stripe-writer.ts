import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type BlobKey, blobKeyHex, type NodeId, type Policy, type Stamp, shardCount } from '../blob/index.ts';
import { withShard } from '../protocol/index.ts';
import type { AppendResult } from '../store/index.ts';
import type { CallDeadline } from '../transport/index.ts';
import { CancellableDeadline } from './cancellable-deadline.ts';
import type { NodeHealth } from './node-health.ts';
import { isFull, isNodeTrouble } from './node-trouble.ts';
import type { Place } from './placements.ts';
import { type EncodedBlob, shardDescriptor } from './stripe-encoder.ts';
import type { PutOptions, PutResult } from './types.ts';
import { Wake } from './wake.ts';
import { missingMaskOf, planWrite, type WritePlan } from './write-plan.ts';

/** How long nodes that refused are left alone while a put waits for any of them. */
const FIRST_PAUSE_MS = 50;
const LAST_PAUSE_MS = 1000;

export type WriterPorts = { readonly health: NodeHealth; readonly clock: Clock; readonly logger: Logger };

export type WriteJob = {
  readonly key: BlobKey;
  readonly blob: EncodedBlob;
  readonly stamp: Stamp;
  readonly options: PutOptions;
  /** Placement by the map of now; asked again after every wait. */
  readonly place: () => Place;
};

/** A tombstone is newer than what was to be written. */
export class CoveredByTombstone extends Error {
  readonly node: NodeId;

  constructor(node: NodeId) {
    super('a tombstone covers the blob');
    this.node = node;
  }
}

/**
 * One blob's way onto its nodes. All shards go out at once; one that a node does not take goes elsewhere while the others are
 * still on the way. Succeeds only when every shard (of replicas: a quorum of copies) is durable on at least W distinct nodes;
 * whatever else happens leaves shards that no one refers to.
 */
export class StripeWriter {
  readonly #job: WriteJob;
  readonly #ports: WriterPorts;
  readonly #policy: Policy;
  readonly #operation: string;
  readonly #wake = new Wake();
  readonly #shards: number;
  /** Who holds shard i or is being sent it. */
  readonly #placed: (NodeId | undefined)[];
  readonly #durable: (AppendResult | undefined)[];
  /** Missing mask that lies beside shard i. */
  readonly #sentMask: number[];
  /** What nodes said no to this put with. */
  readonly #refusals = new Map<NodeId, NabuError>();
  /** Ends the transfers with the put. */
  readonly #transfers: CancellableDeadline;
  #place: Place;
  /** The last descriptor that was made from scratch. */
  #like: { readonly descriptor: Buffer; readonly missingMask: number; readonly mapEpoch: number } | undefined;
  #inFlight = 0;
  #fatal: unknown;

  constructor(job: WriteJob, ports: WriterPorts) {
    this.#job = job;
    this.#ports = ports;
    this.#policy = job.blob.policy;
    this.#transfers = new CancellableDeadline(job.options.deadline);
    this.#operation = `writing blob ${blobKeyHex(job.key)}`;
    this.#shards = shardCount(this.#policy);
    this.#placed = new Array(this.#shards).fill(undefined);
    this.#durable = new Array(this.#shards).fill(undefined);
    this.#sentMask = new Array(this.#shards).fill(0);
    this.#place = job.place();
  }

  async write(): Promise<PutResult & { readonly missingMask: number; readonly recorded: boolean }> {
    const { clock } = this.#ports;
    const { options } = this.#job;
    let pauseMs = FIRST_PAUSE_MS;
    let told = '';
    const stopListening = this.#ports.health.onChange(() => {
      this.#refusals.clear();
      this.#wake.raise();
    });
    try {
      for (;;) {
        if (this.#fatal !== undefined) throw this.#fatal;
        if (this.#inFlight === 0 && this.#durable.every((result) => result !== undefined)) return this.#result();
        const plan = this.#plan();
        if (plan.complete) this.#send(plan.assign);
        if (this.#inFlight > 0) {
          await this.#wake.wait(options, this.#operation);
          continue;
        }
        if (plan.complete) return this.#result();
        told = this.#announceWait(told);
        await this.#wake.wait(options, this.#operation, { clock, timeoutMs: pauseMs });
        pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 2);
        this.#refusals.clear();
        this.#place = this.#job.place();
      }
    } catch (err) {
      throw this.#reasonFor(err);
    } finally {
      stopListening();
      // An error object and an abort cost a tenth of a small put: only when somebody is there to hear it.
      if (this.#inFlight > 0) this.#transfers.cancel(NabuError.of('CANCELLED', { operation: this.#operation }));
      if (told !== '') this.#announceEnd();
    }
  }

  #plan(): WritePlan {
    return planWrite({
      policy: this.#policy,
      maxShardsPerDomain: this.#job.options.maxShardsPerDomain ?? 1,
      owners: this.#place.owners,
      walk: this.#place.walk,
      domainOf: this.#place.domainOf,
      usable: (node) => !this.#refusals.has(node) && this.#ports.health.isUsable(node),
      placed: this.#placed,
      degraded: this.#job.options.degradedWrites ?? 'allow',
    });
  }

  /** Every shard of this turn is placed before any descriptor is written: the missing mask is of the whole plan. */
  #send(assign: WritePlan['assign']): void {
    for (const { shard, node } of assign) this.#placed[shard] = node;
    this.#inFlight += assign.length;
    for (const { shard, node } of assign) this.#transfer(shard, node).then(this.#transferred);
  }

  readonly #transferred = (stored: boolean): void => {
    this.#inFlight--;
    // A shard that is stored changes nothing for those still on their way.
    if (!stored || this.#inFlight === 0 || this.#fatal !== undefined) this.#wake.raise();
  };

  /** False: the shard needs another node, or the put cannot succeed. Never rejects. */
  async #transfer(shard: number, node: NodeId): Promise<boolean> {
    const { blob, options } = this.#job;
    const missingMask = missingMaskOf(this.#place.owners, this.#placed, this.#shards);
    try {
      const meta = this.#descriptor(shard, missingMask);
      const client = this.#ports.health.peer(node).live ?? (await this.#connect(node, options.deadline));
      const result = await client.putShard(
        { meta, payload: blob.payloadOf(shard) },
        { deadline: this.#transfers, mapEpoch: this.#place.epoch },
      );
      this.#sentMask[shard] = missingMask;
      this.#durable[shard] = result;
      if (result === 'deleted') this.#fatal ??= new CoveredByTombstone(node);
      return true;
    } catch (err) {
      this.#placed[shard] = undefined;
      if (!isNodeTrouble(err)) this.#fatal ??= err;
      else this.#refused(node, err);
      return false;
    }
  }

  #descriptor(shard: number, missingMask: number): Buffer {
    const { blob, key, stamp, options } = this.#job;
    const { epoch: mapEpoch } = this.#place;
    const like = this.#like;
    if (like?.missingMask === missingMask && like.mapEpoch === mapEpoch) {
      return withShard(like.descriptor, shard, blob.crcsOf(shard));
    }
    const descriptor = shardDescriptor(blob, shard, { key, stamp, missingMask, mapEpoch, log: options.log });
    this.#like = { descriptor, missingMask, mapEpoch };
    return descriptor;
  }

  #connect(node: NodeId, deadline: CallDeadline): ReturnType<NodeHealth['clientOf']> {
    return this.#ports.health.clientOf(node, deadline);
  }

  #refused(node: NodeId, err: NabuError): void {
    this.#refusals.set(node, err);
    if (this.#transfers.expired) return;
    this.#ports.logger.debug('a node did not take a shard', {
      key: blobKeyHex(this.#job.key),
      nodeId: node,
      error: err,
    });
  }

  /** Says what is waited for when that is new. Returns what was said. */
  #announceWait(told: string): string {
    const why = this.#tooFew();
    const { key, options } = this.#job;
    if (options.tooFewNodes === 'refuse') throw why;
    const nodes = this.#place.walk.filter((node) => this.#refusals.has(node) || !this.#ports.health.isUsable(node));
    const reason = nodes.length === 0 ? why.message : `${why.message} (without ${nodes.join(', ')})`;
    if (reason === told) return told;
    this.#ports.logger.warn('a write waits for nodes', { key: blobKeyHex(key), nodes, reason });
    options.waiting?.({ operation: 'put', key, nodes, reason });
    return reason;
  }

  #announceEnd(): void {
    this.#ports.logger.info('a write that waited is over', { key: blobKeyHex(this.#job.key) });
    this.#job.options.waiting?.(undefined);
  }

  /** Why nothing more can be placed now. A cluster that is full says so rather than that nodes are missing. */
  #tooFew(): NabuError {
    const full = [...this.#refusals.values()].find(isFull);
    if (full !== undefined) return full;
    const available = this.#place.walk.filter((node) => !this.#refusals.has(node) && this.#ports.health.isUsable(node));
    const away = this.#place.walk.filter((node) => !available.includes(node));
    return NabuError.of('NOT_ENOUGH_NODES', {
      operation: this.#operation,
      needed: this.#policy.quorum,
      available: available.length,
      nodes: away,
    });
  }

  /** At the deadline the caller learns what it waited for, if it waited for nodes. */
  #reasonFor(err: unknown): unknown {
    if (!NabuError.is(err, 'TIMEOUT') || this.#inFlight > 0) return err;
    return this.#plan().complete ? err : this.#tooFew();
  }

  #result(): PutResult & { missingMask: number; recorded: boolean } {
    const missingMask = missingMaskOf(this.#place.owners, this.#placed, this.#shards);
    return {
      key: this.#job.key,
      stripeId: this.#job.blob.stripeId,
      nodes: [...this.#placed],
      degraded: missingMask !== 0,
      hit: this.#durable.every((result) => result === 'exists'),
      missingMask,
      recorded: this.#durable.some((result, shard) => result === 'stored' && this.#sentMask[shard] === missingMask),
    };
  }
}
