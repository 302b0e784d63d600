import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import {
  BLOCK_BYTES,
  type BlobKey,
  blobKeyHex,
  checkBlobLength,
  type NodeId,
  type Policy,
  roundUpToBlock,
  shardLengthOf,
  shardRanges,
  stripeIdHex,
} from '../blob/index.ts';
import type { Slot } from '../slab/index.ts';
import type { Place, Placements } from './placements.ts';
import { type ProbePorts, probeNode } from './probe.ts';
import { readVerdict } from './read-verdict.ts';
import { type LocatedStripe, locateStripes, type ShardSources } from './shard-sources.ts';
import { ReadFaults, type ReadPorts, StripeRead, type StripeReadResult } from './stripe-read.ts';
import type { GetRequest, GetResult, ProbeAnswer } from './types.ts';
import { Wake } from './wake.ts';

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 1000;

export type ReaderPorts = ReadPorts & {
  readonly placements: Placements;
  readonly logger: Logger;
  readonly probeTimeoutMs: number;
};

/** What is asked of a stripe, in bytes of the blob. */
type Span = { readonly offset: number; readonly length: number; readonly base: number; readonly bufferLength: number };

function spanOf(request: GetRequest, blobLength: number): Span {
  const offset = request.range?.offset ?? 0;
  const length = request.range?.length ?? blobLength;
  if (
    !(
      Number.isSafeInteger(offset) &&
      offset >= 0 &&
      Number.isSafeInteger(length) &&
      length >= 0 &&
      offset + length <= blobLength
    )
  ) {
    throw NabuError.of('OUT_OF_RANGE', {
      field: 'range',
      reason: `${offset}+${length} is not within ${blobLength} bytes`,
    });
  }
  const base = Math.floor(Math.min(offset, Math.max(0, blobLength - 1)) / BLOCK_BYTES) * BLOCK_BYTES;
  // One block is read even for no bytes: the blob must be shown to exist.
  return { offset, length, base, bufferLength: Math.max(BLOCK_BYTES, roundUpToBlock(offset + length) - base) };
}

/** Reads blobs. First straight from the owners; when that does not do, by asking every node that may hold a shard. */
export class BlobReader {
  readonly #ports: ReaderPorts;

  constructor(ports: ReaderPorts) {
    this.#ports = ports;
  }

  async read(request: GetRequest): Promise<GetResult> {
    if (request.blobLength !== undefined) checkBlobLength(request.blobLength);
    this.#ports.counters.reads++;
    if (request.unreadable !== 'wait') return await this.#attempt(request);
    return await this.#readWaiting(request);
  }

  async #attempt(request: GetRequest): Promise<GetResult> {
    const { key, policy, homeSet, blobLength } = request;
    const place = this.#ports.placements.forRead(key, policy, request, homeSet);
    const faults = new ReadFaults();
    if (blobLength !== undefined) {
      const sources = place.owners.map((owner) => [owner]);
      const direct = await this.#readStripe(request, place, faults, {
        stripeId: request.stripeId ?? null,
        blobLength,
        shardLength: shardLengthOf(policy, blobLength),
        sources,
      });
      if (direct !== undefined) return direct;
    }
    return await this.#searchAndRead(request, place, new ReadFaults());
  }

  /** undefined: too few shards. */
  async #readStripe(
    request: GetRequest,
    place: Place,
    faults: ReadFaults,
    stripe: { stripeId: GetResult['stripeId'] | null; blobLength: number; shardLength: number; sources: ShardSources },
  ): Promise<GetResult | undefined> {
    const span = spanOf(request, stripe.blobLength);
    const { slot, at } = await this.#destination(request, span);
    let result: StripeReadResult = { status: 'short', mixed: false };
    try {
      const job = {
        key: request.key,
        policy: request.policy,
        ...stripe,
        pieces: shardRanges(stripe.shardLength, span.base, span.bufferLength),
        destination: slot.offset + at,
        destinationSlot: request.into === undefined ? slot : undefined,
        mapEpoch: place.epoch,
        deadline: request.deadline,
        signal: request.signal,
      };
      result = await new StripeRead(job, this.#ports, faults).run();
    } finally {
      if (result.status !== 'ok' && request.into === undefined) slot.release();
    }
    if (result.status !== 'ok') return undefined;
    const { stripeId, decoded } = result;
    const offset = at + span.offset - span.base;
    return { slot, offset, length: span.length, blobLength: stripe.blobLength, stripeId, decoded };
  }

  async #destination(request: GetRequest, span: Span): Promise<{ slot: Slot; at: number }> {
    if (request.into === undefined) {
      const { slab } = this.#ports;
      const now = slab.waiting === 0 ? slab.tryAlloc(span.bufferLength) : undefined;
      return { slot: now ?? (await slab.allocWait(span.bufferLength, request.deadline)), at: 0 };
    }
    const { slot, offset } = request.into;
    if (offset % BLOCK_BYTES !== 0 || offset < 0 || offset + span.bufferLength > slot.lengthBytes) {
      const reason = `${span.bufferLength} bytes do not fit at ${offset} of a slot of ${slot.lengthBytes}`;
      throw NabuError.of('INVALID_ARGUMENT', { field: 'into', reason });
    }
    return { slot, at: offset };
  }

  /** Asks the whole walk at once and reads from the first stripe that has enough shards. Throws the verdict of all answers. */
  async #searchAndRead(request: GetRequest, place: Place, faults: ReadFaults): Promise<GetResult> {
    const { key, deadline } = request;
    const answers = new Map<NodeId, ProbeAnswer>();
    const wake = new Wake();
    const ports: ProbePorts = { health: this.#ports.health, clock: this.#ports.clock, mapEpoch: () => place.epoch };
    for (const node of place.walk) {
      probeNode(ports, node, key, 0n, deadline, this.#ports.probeTimeoutMs).then((answer) => {
        answers.set(node, answer);
        wake.raise();
      });
    }
    for (;;) {
      const stripe = this.#readable(request, answers, faults);
      if (stripe !== undefined) {
        const badBefore = faults.bad.size;
        const result = await this.#readStripe(request, place, faults, stripe);
        if (result !== undefined) return result;
        if (faults.bad.size === badBefore) faults.exhausted.add(stripeIdHex(stripe.stripeId));
        continue;
      }
      if (answers.size === place.walk.length) throw this.#verdict(request, answers, faults);
      await wake.wait(request, `reading blob ${blobKeyHex(key)}`);
    }
  }

  #readable(
    request: GetRequest,
    answers: ReadonlyMap<NodeId, ProbeAnswer>,
    faults: ReadFaults,
  ): LocatedStripe | undefined {
    const { policy, blobLength, stripeId } = request;
    return locateStripes(answers, policy, faults.bad).find(
      (stripe) =>
        stripe.found >= policy.k &&
        !faults.exhausted.has(stripeIdHex(stripe.stripeId)) &&
        (blobLength === undefined || stripe.blobLength === blobLength) &&
        (stripeId === undefined || Buffer.compare(stripe.stripeId, stripeId) === 0),
    );
  }

  /** Why a blob of which only so much was found cannot be read. */
  verdictOf(key: BlobKey, policy: Policy, answers: ReadonlyMap<NodeId, ProbeAnswer>): NabuError {
    return this.#verdict({ key, policy }, answers, new ReadFaults());
  }

  #verdict(
    { key, policy }: Pick<GetRequest, 'key' | 'policy'>,
    answers: ReadonlyMap<NodeId, ProbeAnswer>,
    faults: ReadFaults,
  ): NabuError {
    const stripes = locateStripes(answers, policy, faults.bad);
    const inState = (state: ProbeAnswer['state']): NodeId[] =>
      [...answers].filter(([, answer]) => answer.state === state).map(([node]) => node);
    const holders = inState('found');
    const silent = [...new Set([...inState('silent'), ...faults.silent])];
    return readVerdict({
      key,
      policy,
      found: stripes[0]?.found ?? 0,
      holders: holders.filter((node) => !silent.includes(node)).length,
      corrupt: faults.corrupt.size,
      silent,
      unknown: inState('unknown'),
    });
  }

  /** For volumes: what cannot be read now is waited for, visibly, as long as nodes are silent that may bring it back. */
  async #readWaiting(request: GetRequest): Promise<GetResult> {
    const { health, clock, logger } = this.#ports;
    const wake = new Wake();
    const stopListening = health.onChange(() => wake.raise());
    let pauseMs = FIRST_PAUSE_MS;
    let told = '';
    try {
      for (;;) {
        let verdict: NabuError;
        try {
          return await this.#attempt(request);
        } catch (err) {
          if (!NabuError.is(err, 'BLOB_UNREADABLE', 'BLOB_UNKNOWN', 'RESOURCE_EXHAUSTED')) throw err;
          verdict = err;
        }
        if (told !== verdict.message) {
          told = verdict.message;
          const nodes = nodesOf(verdict);
          logger.warn('a read waits for nodes', { key: blobKeyHex(request.key), nodes, reason: told });
          request.waiting?.({ operation: 'get', key: request.key, nodes, reason: told });
        }
        try {
          await wake.wait(request, `reading blob ${blobKeyHex(request.key)}`, { clock, timeoutMs: pauseMs });
        } catch (err) {
          throw NabuError.is(err, 'TIMEOUT') ? verdict : err; // what it waited for says more than that it waited
        }
        pauseMs = Math.min(LAST_PAUSE_MS, 2 * pauseMs);
      }
    } finally {
      stopListening();
      if (told !== '') request.waiting?.(undefined);
    }
  }
}

function nodesOf(verdict: NabuError): NodeId[] {
  const { nodes } = verdict.fields;
  return Array.isArray(nodes) ? (nodes as NodeId[]) : [];
}
