import { NabuError } from '../../common/errors/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import { type BlobKey, type NodeId, type Policy, type ShardRange, type StripeId, shardCount } from '../blob/index.ts';
import { type ErasureCoder, verifyBlocks } from '../ec/index.ts';
import { ANY_SHARD, type ShardMeta } from '../protocol/index.ts';
import type { Slab, Slot } from '../slab/index.ts';
import type { CallDeadline, PayloadRef } from '../transport/index.ts';
import type { NodeHealth } from './node-health.ts';
import type { ReadLatency } from './read-latency.ts';
import { copyName, type ShardSources } from './shard-sources.ts';
import { Wake } from './wake.ts';

export type ReadCounters = {
  reads: number;
  hedges: number;
  decodes: number;
  corruptShards: number;
  failedShards: number;
};

export type ReadPorts = {
  readonly slab: Slab;
  readonly coderOf: (policy: Policy) => ErasureCoder;
  readonly health: NodeHealth;
  readonly clock: Clock;
  readonly latency: ReadLatency;
  readonly counters: ReadCounters;
};

export type StripeReadJob = {
  readonly key: BlobKey;
  readonly policy: Policy;
  /** null: whichever stripe answers, as long as all pieces are of one. */
  readonly stripeId: StripeId | null;
  readonly blobLength: number;
  readonly shardLength: number;
  /** Of data shards, in order, block-aligned; at least one. */
  readonly pieces: readonly ShardRange[];
  readonly sources: ShardSources;
  /** Slab offset of the first piece; the others follow without gaps. */
  readonly destination: number;
  /** The slot that holds it, if it is this read's own. Memory of the caller has none: see #quiet. */
  readonly destinationSlot: Slot | undefined;
  readonly mapEpoch: number;
  readonly deadline: CallDeadline;
  readonly signal?: AbortSignal | undefined;
};

export type StripeReadResult =
  | { readonly status: 'ok'; readonly stripeId: StripeId; readonly decoded: boolean }
  /** Too few shards. `mixed`: pieces of different stripes came. */
  | { readonly status: 'short'; readonly mixed: boolean };

/** What went wrong while reading, gathered over the attempts at one get. */
export class ReadFaults {
  /** Copies that are corrupt. */
  readonly corrupt = new Set<string>();
  /** Copies that were asked for and not given, corrupt ones included. */
  readonly bad = new Set<string>();
  /** Nodes that failed to answer a read. */
  readonly silent = new Set<NodeId>();
  /** Stripes (by hex id) that could not be read although enough shards were located. */
  readonly exhausted = new Set<string>();
}

type Piece = ShardRange & {
  readonly at: number;
  state: 'pending' | 'receiving' | 'done' | 'failed';
  /** Resolves when nothing more is written for it. */
  settled: Promise<void>;
};

/** The bytes of one shard in the window that is decoded. */
type Row = { readonly shard: number; readonly at: number };

type Fetch = {
  readonly shard: number;
  readonly node: NodeId;
  readonly offset: number;
  readonly length: number;
  readonly into: () => PayloadRef;
};

/**
 * One attempt to read byte ranges of one stripe. Asks the owners of the data shards for just these ranges, straight into the
 * caller's memory. When one fails or is late, the same byte window of other shards is fetched and the missing part decoded; a late
 * owner may still win. Every block is verified against its checksum on arrival.
 */
export class StripeRead {
  readonly #job: StripeReadJob;
  readonly #ports: ReadPorts;
  readonly #faults: ReadFaults;
  readonly #wake = new Wake();
  readonly #pieces: Piece[];
  /** Next source of shard i to ask. */
  readonly #next: number[];
  readonly #rows = new Map<number, Row>();
  readonly #rowSlots: Slot[] = [];
  #stripeId: StripeId | null;
  #windowFrom = 0;
  #windowLength = 0;
  #rowsInFlight = 0;
  /** Rows beyond the k that would do, because those are late. */
  #extraRows = 0;
  #mixed = false;
  #late = false;
  #around = false;
  #finished = false;
  #hedge: Timer | undefined;

  constructor(job: StripeReadJob, ports: ReadPorts, faults: ReadFaults) {
    this.#job = job;
    this.#ports = ports;
    this.#faults = faults;
    this.#stripeId = job.stripeId;
    this.#next = new Array(shardCount(job.policy)).fill(0);
    let at = job.destination;
    this.#pieces = job.pieces.map((piece) => {
      const placed: Piece = { ...piece, at, state: 'pending', settled: Promise.resolve() };
      at += piece.length;
      return placed;
    });
  }

  async run(): Promise<StripeReadResult> {
    const { clock, latency } = this.#ports;
    const startedMs = clock.monotonicMs();
    const lengthBytes = this.#pieces.reduce((most, piece) => Math.max(most, piece.length), 0);
    for (const piece of this.#pieces) this.#readDirectly(piece);
    latency.earn();
    const hedgeMs = latency.hedgeAfterMs(lengthBytes);
    this.#hedge = clock.setTimer(() => {
      if (latency.trySpend()) this.#help(hedgeMs);
      else this.#hedge = clock.setTimer(() => this.#help(hedgeMs), latency.hedgeAnywayAfterMs(lengthBytes) - hedgeMs);
    }, hedgeMs);
    try {
      while (!this.#settledDirectly()) {
        if (this.#mixed) return { status: 'short', mixed: true };
        if (this.#late || this.#pieces.some((piece) => piece.state === 'failed')) return await this.#readAround();
        await this.#wake.wait(this.#job, 'reading a blob');
      }
      latency.add(lengthBytes, clock.monotonicMs() - startedMs);
      return this.#ok(false);
    } finally {
      this.#finished = true;
      this.#hedge?.cancel();
      for (const slot of this.#rowSlots) slot.release();
      await this.#quiet();
    }
  }

  /**
   * However the read ended: bytes that are on their way into the caller's memory are waited for before it has it back. A request
   * whose payload has no slot to hold settles only then (PayloadRef); a slot of our own is held by the transport instead.
   */
  async #quiet(): Promise<void> {
    if (this.#job.destinationSlot !== undefined) return;
    for (const piece of this.#pieces) if (piece.state === 'receiving') await piece.settled;
  }

  #ok(decoded: boolean): StripeReadResult {
    if (this.#stripeId === null) throw new TypeError('a stripe was read that has no id');
    return { status: 'ok', stripeId: this.#stripeId, decoded };
  }

  #settledDirectly(): boolean {
    return this.#pieces.every((piece) => piece.state === 'done');
  }

  /** The first time for the owners, then for each further shard that is late, at growing distances. */
  #help(againMs: number): void {
    if (this.#around) this.#extraRows++;
    else this.#late = true;
    const nextMs = 2 * againMs;
    if (this.#extraRows < this.#job.policy.m) {
      this.#hedge = this.#ports.clock.setTimer(() => this.#help(nextMs), nextMs);
    }
    this.#wake.raise();
  }

  #readDirectly(piece: Piece): void {
    const node = this.#takeSource(piece.shard);
    if (node === undefined) {
      piece.state = 'failed';
      return;
    }
    const { destinationSlot } = this.#job;
    const into = (): PayloadRef => {
      piece.state = 'receiving';
      const place = { offset: piece.at, length: piece.length };
      return destinationSlot === undefined ? place : { ...place, slot: destinationSlot };
    };
    const { shard, offset, length } = piece;
    piece.settled = this.#fetch({ shard, node, offset, length, into }).then((good) => {
      piece.state = good ? 'done' : 'failed';
      if (good) this.#next[shard] = (this.#next[shard] ?? 1) - 1; // it may be asked again, for the rest of the window
      if (!good || this.#around || this.#settledDirectly()) this.#wake.raise();
    });
  }

  /** Decodes the pieces that are missing, unless their owners answer after all. */
  async #readAround(): Promise<StripeReadResult> {
    const { policy } = this.#job;
    const open = this.#pieces.filter((piece) => piece.state !== 'done');
    this.#windowFrom = Math.min(...open.map((piece) => piece.offset));
    this.#windowLength = Math.max(...open.map((piece) => piece.offset + piece.length)) - this.#windowFrom;
    this.#around = true;
    if (this.#late) this.#ports.counters.hedges++;
    for (;;) {
      if (this.#mixed) return { status: 'short', mixed: true };
      if (this.#settledDirectly()) return this.#ok(false);
      this.#adoptPieces();
      const receiving = this.#pieces.some((piece) => piece.state === 'receiving');
      if (this.#rows.size >= policy.k && !receiving) {
        await this.#decode();
        return this.#ok(true);
      }
      this.#fetchRows();
      const waitingFor =
        this.#rowsInFlight + this.#pieces.filter((piece) => piece.state !== 'done' && piece.state !== 'failed').length;
      if (waitingFor === 0) return { status: 'short', mixed: false };
      await this.#wake.wait(this.#job, 'reading a blob');
    }
  }

  /** A piece that is there and spans the window is a row already. */
  #adoptPieces(): void {
    const end = this.#windowFrom + this.#windowLength;
    for (const piece of this.#pieces) {
      if (piece.state !== 'done' || piece.offset > this.#windowFrom || piece.offset + piece.length < end) continue;
      if (!this.#rows.has(piece.shard)) {
        this.#rows.set(piece.shard, { shard: piece.shard, at: piece.at + this.#windowFrom - piece.offset });
      }
    }
  }

  /** As many as are still needed, one more when those are late too. */
  #fetchRows(): void {
    const wanted = this.#job.policy.k - this.#rows.size + this.#extraRows;
    for (let shard = 0; shard < this.#next.length && this.#rowsInFlight < wanted; shard++) {
      if (this.#rows.has(shard) || this.#isPending(shard)) continue;
      const node = this.#takeSource(shard);
      if (node !== undefined) this.#fetchRow(shard, node);
    }
  }

  /** Its direct read is on the way and would serve as a row: asking a second time gains nothing. */
  #isPending(shard: number): boolean {
    const piece = this.#pieces.find((candidate) => candidate.shard === shard);
    return piece !== undefined && (piece.state === 'pending' || piece.state === 'receiving') && this.#job.policy.k > 1;
  }

  #fetchRow(shard: number, node: NodeId): void {
    const slot = this.#ports.slab.alloc(this.#windowLength);
    this.#rowSlots.push(slot);
    this.#rowsInFlight++;
    const into = (): PayloadRef => ({ offset: slot.offset, length: this.#windowLength, slot });
    this.#fetch({ shard, node, offset: this.#windowFrom, length: this.#windowLength, into }).then((good) => {
      this.#rowsInFlight--;
      if (good && !this.#finished) this.#rows.set(shard, { shard, at: slot.offset });
      this.#wake.raise();
    });
  }

  /** The next source of the shard that is not known to be away. */
  #takeSource(shard: number): NodeId | undefined {
    const nodes = this.#job.sources[shard] ?? [];
    for (;;) {
      const at = this.#next[shard] ?? 0;
      const node = nodes[at];
      if (node === undefined) return undefined;
      this.#next[shard] = at + 1;
      if (this.#ports.health.isReachable(node)) return node;
      this.#faults.silent.add(node);
    }
  }

  /** True when the bytes are in place and verified. Never rejects. */
  async #fetch(fetch: Fetch): Promise<boolean> {
    const { key, policy, deadline, mapEpoch } = this.#job;
    const { shard, node, offset, length } = fetch;
    try {
      const client = this.#ports.health.peer(node).live ?? (await this.#ports.health.clientOf(node, deadline));
      const answer = await client.readShard(
        {
          key,
          stripeId: this.#stripeId,
          shardIndex: policy.k === 1 ? ANY_SHARD : shard,
          rangeOffset: offset,
          rangeLength: length,
        },
        (payloadLength) => {
          // A read that lost the race must not touch memory that its caller has back.
          if (this.#finished) throw NabuError.of('CANCELLED', { operation: 'reading a shard' });
          if (payloadLength === length) return fetch.into();
          throw NabuError.of('PROTOCOL_ERROR', {
            peer: `node ${node}`,
            reason: `${payloadLength} bytes for a range of ${length}`,
          });
        },
        { deadline, mapEpoch },
      );
      if (this.#finished) return false;
      if (answer.status !== 'ok') return this.#missing(fetch, answer.status);
      if (!this.#fits(answer.meta, fetch)) return false;
      if (verifyBlocks(this.#ports.slab.buffer, answer.payload.offset, length, answer.crcs) >= 0) {
        return this.#missing(fetch, 'corrupt');
      }
      return true;
    } catch (err) {
      if (this.#finished) return false;
      this.#ports.counters.failedShards++;
      this.#faults.bad.add(copyName(node, shard));
      // A range that the shard does not have: another blob under this key, found out by asking everyone.
      if (!NabuError.is(err, 'OUT_OF_RANGE')) this.#faults.silent.add(node);
      return false;
    }
  }

  #missing({ node, shard }: Fetch, status: 'absent' | 'unknown' | 'corrupt'): false {
    const name = copyName(node, shard);
    this.#faults.bad.add(name);
    if (status !== 'corrupt') return false;
    this.#faults.corrupt.add(name);
    this.#ports.counters.corruptShards++;
    return false;
  }

  /** Of the one stripe that this read is about. The first answer decides which that is. */
  #fits(meta: ShardMeta, { shard, offset }: Fetch): boolean {
    const { key, policy, blobLength } = this.#job;
    const rightShard = policy.k === 1 || meta.shardIndex === shard;
    if (!rightShard || meta.rangeOffset !== offset || Buffer.compare(meta.key, key) !== 0) return false;
    const same =
      meta.k === policy.k &&
      meta.m === policy.m &&
      meta.blobLength === blobLength &&
      (this.#stripeId === null || Buffer.compare(meta.stripeId, this.#stripeId) === 0);
    if (same) this.#stripeId ??= meta.stripeId;
    else this.#mixed = true;
    return same;
  }

  /** Fills the open pieces from the rows. */
  async #decode(): Promise<void> {
    this.#ports.counters.decodes++;
    // From here on a late owner must not write where the decoder does.
    this.#finished = true;
    const { policy } = this.#job;
    const offsets = new Array<number>(shardCount(policy)).fill(-1);
    let presentMask = 0;
    for (const row of [...this.#rows.values()].slice(0, policy.k)) {
      offsets[row.shard] = row.at;
      presentMask |= 1 << row.shard;
    }
    let wantedMask = 0;
    const copies: { readonly from: number; readonly piece: Piece }[] = [];
    for (const piece of this.#pieces) {
      if (piece.state === 'done') continue;
      const from = this.#sourceInRows(piece, offsets);
      if (from !== undefined) {
        copies.push({ from, piece });
        continue;
      }
      wantedMask |= 1 << piece.shard;
      offsets[piece.shard] = piece.length === this.#windowLength ? piece.at : this.#scratchFor(piece, copies);
    }
    if (wantedMask !== 0) {
      const shardLength = this.#windowLength;
      await this.#ports.coderOf(policy).reconstruct({ offsets, presentMask, wantedMask, shardLength });
    }
    const bytes = new Uint8Array(this.#ports.slab.buffer);
    for (const { from, piece } of copies) bytes.copyWithin(piece.at, from, from + piece.length);
  }

  /** Where the piece lies in a row that was fetched as it is: any copy, or its shard from another source. */
  #sourceInRows(piece: Piece, offsets: readonly number[]): number | undefined {
    const at = this.#job.policy.k === 1 ? offsets.find((offset) => offset >= 0) : offsets[piece.shard];
    return at === undefined || at < 0 ? undefined : at + piece.offset - this.#windowFrom;
  }

  /** The decoder writes whole windows; a piece that is only part of one is cut out afterwards. */
  #scratchFor(piece: Piece, copies: { readonly from: number; readonly piece: Piece }[]): number {
    const slot = this.#ports.slab.alloc(this.#windowLength);
    this.#rowSlots.push(slot);
    copies.push({ from: slot.offset + piece.offset - this.#windowFrom, piece });
    return slot.offset;
  }
}
