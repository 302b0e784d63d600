import { type Release, Semaphore } from '../../common/concurrency/index.ts';
import { NabuError, toNabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { epoch as epochOf, hexOf } from '../blob/index.ts';
import { parseClusterMapText } from '../placement/index.ts';
import { ByteWriter, encodeError, type HelloInfo, OP, opName, STATUS_ERROR } from '../protocol/index.ts';
import type { Slab } from '../slab/index.ts';
import type { ShardStore } from '../store/index.ts';
import type { Answer, IncomingRequest, RequestHandler } from '../transport/index.ts';
import type { NodeMap } from './node-map.ts';
import { OpCounters } from './op-counters.ts';
import { OwnerService } from './owner-service.ts';
import { ShardService } from './shard-service.ts';

export type StorNodeOptions = {
  readonly store: ShardStore;
  readonly slab: Slab;
  readonly map: NodeMap;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Requests that are worked on at once, and that may wait behind them; one more is refused with QUEUE_FULL. */
  readonly limits?: { readonly maxRunning?: number; readonly maxWaiting?: number };
  /** How far the take-over of fences has come. Without it only the store's word counts. */
  readonly fences?: () => Readonly<Record<string, unknown>> & { readonly reason: string };
  /** More for STATS. */
  readonly transportStats?: () => Readonly<Record<string, unknown>>;
};

const DEFAULT_RUNNING = 1024;
const DEFAULT_WAITING = 8192;
/** A sender this many epochs behind chose its nodes by a cluster that is long gone: it must fetch the map first. */
const MAX_MAP_LAG = 64;

/** What a storage node does with requests, whatever transport they come by. */
export class StorNode {
  readonly #options: StorNodeOptions;
  readonly #shards: ShardService;
  readonly #owners: OwnerService;
  readonly #running: Semaphore;
  readonly #counters = new OpCounters();
  readonly #startedMs: number;

  constructor(options: StorNodeOptions) {
    this.#options = options;
    const { store, slab, limits, clock } = options;
    this.#shards = new ShardService({ store, slab, fencesMissing: () => this.#fencesMissing() });
    this.#owners = new OwnerService(store);
    this.#running = new Semaphore({
      name: `requests of node ${store.identity.nodeId}`,
      permits: limits?.maxRunning ?? DEFAULT_RUNNING,
      maxWaiters: limits?.maxWaiting ?? DEFAULT_WAITING,
    });
    this.#startedMs = clock.monotonicMs();
  }

  /** Who this node says it is. Live: it changes when the fences are complete. */
  get hello(): HelloInfo {
    const { store } = this.#options;
    const { identity } = store;
    return {
      clusterId: hexOf(identity.clusterId),
      nodeId: identity.nodeId,
      deviceId: hexOf(identity.deviceId),
      incarnation: identity.incarnation,
      label: identity.nodeId,
      get fencesComplete() {
        return store.identity.fencesComplete;
      },
    };
  }

  readonly handle: RequestHandler = (request) => {
    const startedMs = this.#options.clock.monotonicMs();
    try {
      const answer = this.#admitted(request);
      if (!(answer instanceof Promise)) return this.#answered(request.op, startedMs, answer);
      return answer.then(
        (later) => this.#answered(request.op, startedMs, later),
        (err: unknown) => this.#refused(request.op, startedMs, err),
      );
    } catch (err) {
      return this.#refused(request.op, startedMs, err);
    }
  };

  #answered(op: number, startedMs: number, answer: Answer): Answer {
    const { clock, map } = this.#options;
    this.#counters.add(op, clock.monotonicMs() - startedMs, false);
    answer.mapEpoch = map.current().epoch;
    return answer;
  }

  #refused(op: number, startedMs: number, err: unknown): Answer {
    const { clock, map } = this.#options;
    this.#counters.add(op, clock.monotonicMs() - startedMs, true);
    const meta = encodeError(toNabuError(err, this.#logForeign));
    return { status: STATUS_ERROR, meta, mapEpoch: map.current().epoch };
  }

  /** What STATS answers. */
  stats(): Readonly<Record<string, unknown>> {
    const { store, slab, map, clock, fences, transportStats } = this.#options;
    const { identity } = store;
    return {
      nodeId: identity.nodeId,
      clusterId: hexOf(identity.clusterId),
      deviceId: hexOf(identity.deviceId),
      incarnation: identity.incarnation.toString(),
      completeSince: identity.completeSince.toString(),
      mapEpoch: map.current().epoch,
      uptimeMs: Math.round(clock.monotonicMs() - this.#startedMs),
      fences: { complete: identity.fencesComplete, ...fences?.() },
      store: store.stats(),
      slab: { sizeBytes: slab.sizeBytes, freeBytes: slab.freeBytes, slots: slab.slots, waiting: slab.waiting },
      ops: this.#counters.snapshot(),
      transport: transportStats?.() ?? {},
    };
  }

  #admitted(request: IncomingRequest): Promise<Answer> | Answer {
    const release = this.#running.tryAcquire();
    return release === undefined ? this.#whenAdmitted(request) : this.#run(request, release);
  }

  async #whenAdmitted(request: IncomingRequest): Promise<Answer> {
    return await this.#run(request, await this.#running.acquire(1, request.deadline.signal));
  }

  /** What can be answered at once is, without a promise. */
  #run(request: IncomingRequest, release: Release): Promise<Answer> | Answer {
    let answer: Promise<Answer> | Answer | undefined;
    try {
      answer = this.#dispatch(request);
      return answer instanceof Promise ? this.#finish(answer, release) : answer;
    } finally {
      if (!(answer instanceof Promise)) release();
    }
  }

  async #finish(answer: Promise<Answer>, release: Release): Promise<Answer> {
    try {
      return await answer;
    } finally {
      release();
    }
  }

  #dispatch(request: IncomingRequest): Promise<Answer> | Answer {
    const { op } = request;
    if (op === OP.putShard || op === OP.readShard) this.#checkMap(request.mapEpoch);
    if (op !== OP.putShard && request.payload !== undefined) {
      throw NabuError.of('INVALID_ARGUMENT', { field: 'payload', reason: `${opName(op)} takes none` });
    }
    switch (op) {
      case OP.putShard:
        return this.#shards.put(request);
      case OP.readShard:
        return this.#shards.read(request);
      case OP.lookup:
        return this.#shards.lookup(request);
      case OP.delete:
        return this.#shards.delete(request);
      case OP.markDegraded:
        return this.#shards.markDegraded(request);
      case OP.setOwner:
        return this.#owners.set(request);
      case OP.getOwner:
        return this.#owners.get(request);
      case OP.listOwners:
        return this.#owners.list(request);
      case OP.deleteOwnerRange:
        return this.#owners.deleteRange(request);
      case OP.mapGet:
        return { meta: Buffer.from(JSON.stringify(this.#options.map.current())) };
      case OP.mapSet:
        return this.#setMap(request);
      case OP.stats:
        return { meta: Buffer.from(JSON.stringify(this.stats(), printable)) };
      case OP.ping:
        return {};
      default:
        throw NabuError.of('UNIMPLEMENTED', { operation: opName(op), reason: 'this release does not know it' });
    }
  }

  #setMap(request: IncomingRequest): Answer {
    const { map } = this.#options;
    map.adopt(parseClusterMapText(request.meta, 'the offered map'));
    return { meta: new ByteWriter(8).safe64(map.current().epoch).done() };
  }

  /** 0: the sender goes by no map. A sender that is a little behind is served and told; one that is ahead tells us. */
  #checkMap(epoch: number): void {
    if (epoch === 0) return;
    const { map } = this.#options;
    const currentEpoch = map.current().epoch;
    if (epoch + MAX_MAP_LAG < currentEpoch) throw NabuError.of('MAP_STALE', { epoch, currentEpoch });
    if (epoch > currentEpoch) map.hint(epochOf(epoch));
  }

  #fencesMissing(): string | undefined {
    const { store, fences } = this.#options;
    if (store.identity.fencesComplete) return undefined;
    return fences?.().reason ?? 'its store is new';
  }

  readonly #logForeign = (correlationId: string, err: unknown): void => {
    this.#options.logger.error('request failed', { correlationId, err });
  };
}

function printable(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
