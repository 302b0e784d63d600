import assert from 'node:assert/strict';
import { Deadline } from '../../common/concurrency/index.ts';
import { type ErrorCode, NabuError } from '../../common/errors/index.ts';
import { type SeededRandom, SimClock } from '../../common/ports/index.ts';
import { blobKeyHex, contentKey, type NodeId, type Policy, parsePolicy, shardCount } from '../../engine/blob/index.ts';
import type { BlobClient } from '../../engine/client/index.ts';
import { verifyBlocks } from '../../engine/ec/index.ts';
import type { Slab } from '../../engine/slab/index.ts';
import { BlobLedger } from './blob-ledger.ts';
import { SimCluster } from './sim-cluster.ts';
import { rotten, type SimRecord } from './sim-disk.ts';
import { runUntil } from './sim-run.ts';

export type BlobWorldOptions = {
  readonly policy: string;
  readonly nodes: number;
  readonly slab: Slab;
  readonly random: SeededRandom;
};

export type Tally = { puts: number; refused: number; reads: number; unreadable: number; deletes: number };

/** What a put may end with instead of an acknowledgement. */
const REFUSALS: readonly ErrorCode[] = ['NOT_ENOUGH_NODES', 'TIMEOUT', 'DEVICE_FULL', 'ABORTED', 'UNAVAILABLE'];
type Answer = 'bytes' | 'absent' | 'silent' | 'lost';

/** What a read may say while nodes are away or shards harmed. */
const SILENCES: readonly ErrorCode[] = ['BLOB_UNREADABLE', 'BLOB_UNKNOWN', 'TIMEOUT'];
const CLIENTS = 3;
const BLOBS = 10;
const MAX_SKEW_MS = 2000;

/** Real clients that put, get and delete immutable blobs on simulated nodes, and the ledger that every answer is held against. */
export class BlobWorld {
  readonly clock = new SimClock();
  readonly random: SeededRandom;
  readonly policy: Policy;
  readonly cluster: SimCluster;
  readonly blobs: readonly BlobLedger[];
  readonly tally: Tally = { puts: 0, refused: 0, reads: 0, unreadable: 0, deletes: 0 };
  /** Nodes that lost their devices. */
  readonly emptied = new Set<NodeId>();
  /** Clocks differ: what was tried later need not be stamped later. */
  readonly #skewed: boolean;
  readonly #verifies: boolean;
  readonly #clients: readonly BlobClient[];
  readonly #names: readonly string[];

  constructor({ policy, nodes, slab, random }: BlobWorldOptions) {
    this.random = random;
    this.policy = parsePolicy(policy);
    this.#verifies = random.float() < 0.7;
    this.cluster = new SimCluster({
      stack: 'real',
      nodes,
      slab,
      clock: this.clock,
      random: random.fork(),
      lossRate: random.float() < 0.5 ? 0 : 0.02,
      verifies: this.#verifies,
      maxParity: this.policy.m,
    });
    this.#names = Array.from({ length: CLIENTS }, (_, at) => `client-${at + 1}`);
    this.#skewed = random.float() < 0.5;
    this.#clients = this.#names.map((name) =>
      this.cluster.blobClient(name, this.#skewed ? Math.floor((random.float() - 0.5) * MAX_SKEW_MS) : 0),
    );
    this.blobs = Array.from({ length: BLOBS }, () => {
      const data = Buffer.from(random.bytes(1 + (random.uint32() % (random.float() < 0.2 ? 300_000 : 20_000))));
      return new BlobLedger(contentKey(data), data);
    });
  }

  get clientNames(): readonly string[] {
    return this.#names;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.random.uint32() % Math.max(1, from.length)];
    assert.ok(picked !== undefined);
    return picked;
  }

  /** Any of them: what one was told holds for all. */
  get client(): BlobClient {
    return this.pick(this.#clients);
  }

  async put(blob: BlobLedger, timeoutMs: number): Promise<void> {
    const startMs = this.#nowMs;
    const end = blob.begin('put', startMs);
    try {
      using deadline = this.#deadline('put', timeoutMs);
      const refuse = this.random.float() < 0.3;
      const { stripeId, nodes } = await this.client.put({
        key: 'content',
        policy: this.policy,
        data: blob.data,
        tooFewNodes: refuse ? 'refuse' : 'wait',
        deadline,
      });
      this.#checkPlaces(blob, stripeId, nodes, startMs);
      end(this.#nowMs, true);
      this.tally.puts++;
    } catch (err) {
      // Shards on their way are stamped before any tombstone that is made from now on; unless the clocks differ.
      end(this.#skewed ? Number.POSITIVE_INFINITY : this.#nowMs, false);
      if (!NabuError.is(err, ...REFUSALS)) throw err;
      this.tally.refused++;
    }
  }

  /** `patient`: what cannot be read now is asked for until the time is up. */
  async get(blob: BlobLedger, timeoutMs: number, patient = this.random.float() < 0.3): Promise<Answer> {
    const fromMs = this.#nowMs;
    const answer = await this.#read(blob, timeoutMs, patient);
    const may = blob.allowed(fromMs);
    const key = blobKeyHex(blob.key);
    if (answer === 'bytes') assert.ok(may.bytes, `${key} came back although it was deleted, or never put`);
    if (answer === 'absent') assert.ok(may.absent, `${key} is called absent although it was acknowledged`);
    if (answer === 'bytes' || answer === 'absent') this.tally.reads++;
    else this.tally.unreadable++;
    return answer;
  }

  async delete(blob: BlobLedger, timeoutMs: number): Promise<boolean> {
    const end = blob.begin('delete', this.#nowMs);
    try {
      using deadline = this.#deadline('delete', timeoutMs);
      await this.client.delete({ keys: [blob.key], policy: this.policy, deadline });
      end(this.#nowMs, true);
      // Every node has a later tombstone, so all that is put from now on is stamped after it; unless the clocks differ.
      if (!this.#skewed) blob.settleDeletes(this.#nowMs);
      this.tally.deletes++;
      return true;
    } catch (err) {
      end(Number.POSITIVE_INFINITY, false);
      if (!NabuError.is(err, 'BLOB_UNKNOWN', 'TIMEOUT')) throw err;
      return false;
    }
  }

  /** The good shards of the blob on these nodes' devices, distinct ones (of copies: copies on distinct nodes). */
  goodShards(blob: BlobLedger, nodes: readonly NodeId[]): number {
    const found = new Set<number | NodeId>();
    for (const node of nodes) {
      const held = this.#recordsOn(node, blob);
      // A store that does not check what it reads gives whichever copy comes first.
      const given = this.policy.k === 1 && !this.#verifies ? held.slice(0, 1) : held;
      for (const record of given) if (isGood(record)) found.add(this.policy.k === 1 ? node : record.meta.shardIndex);
    }
    return found.size;
  }

  /** Of an acknowledged blob: all shards, or a quorum of copies. */
  get fullShards(): number {
    return this.policy.k === 1 ? this.policy.quorum : shardCount(this.policy);
  }

  /** One byte of every shard that the node has of the blob is wrong from now on. */
  rot(blob: BlobLedger, node: NodeId): void {
    const { records } = this.cluster.diskOf(node);
    const held = this.#recordsOn(node, blob);
    if (held.length === 0) return;
    blob.isHarmed = true;
    records.set(
      blobKeyHex(blob.key),
      held.map((record) => rotten(record, this.random.uint32())),
    );
  }

  /** The node comes back with a blank device. */
  empty(node: NodeId): void {
    this.emptied.add(node);
    for (const blob of this.blobs) blob.isHarmed = true;
    this.cluster.empty(node);
  }

  /** Whether every blob that is to be kept can still be read without the node's device. */
  canSpare(node: NodeId, blobs: readonly BlobLedger[] = this.blobs): boolean {
    const others = this.cluster.nodes.filter((other) => other !== node);
    return blobs.every((blob) => !blob.isKept(this.#nowMs) || this.goodShards(blob, others) >= this.policy.k);
  }

  get kept(): readonly BlobLedger[] {
    return this.blobs.filter((blob) => blob.isKept(this.#nowMs));
  }

  /** Network, nodes and devices are as they should be; what was lost stays lost. */
  heal(): void {
    const { cluster } = this;
    cluster.network.healAll();
    for (const node of cluster.nodes) {
      cluster.start(node);
      cluster.diskOf(node).full = false;
    }
  }

  async until<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    return await runUntil(this.clock, work, limitMs);
  }

  get #nowMs(): number {
    return this.clock.monotonicMs();
  }

  #deadline(operation: string, timeoutMs: number): Deadline {
    return new Deadline({ clock: this.clock, operation, timeoutMs });
  }

  #recordsOn(node: NodeId, blob: BlobLedger): readonly SimRecord[] {
    return this.cluster.diskOf(node).records.get(blobKeyHex(blob.key)) ?? [];
  }

  async #read(blob: BlobLedger, timeoutMs: number, patient: boolean): Promise<Answer> {
    const { length } = blob.data;
    const isKnown = this.random.float() < 0.5;
    const offset = this.random.float() < 0.7 ? 0 : this.random.uint32() % length;
    const range = { offset, length: offset === 0 ? length : 1 + (this.random.uint32() % (length - offset)) };
    try {
      using deadline = this.#deadline('get', timeoutMs);
      const got = await this.client.get({
        key: blob.key,
        policy: this.policy,
        range,
        ...(isKnown ? { blobLength: length } : {}),
        unreadable: patient ? 'wait' : 'fail',
        deadline,
      });
      const bytes = got.slot.bytes.subarray(got.offset, got.offset + got.length);
      const isSame = blob.data.subarray(range.offset, range.offset + range.length).equals(bytes);
      got.slot.release();
      assert.ok(isSame, `${blobKeyHex(blob.key)} read other bytes than were put`);
      return 'bytes';
    } catch (err) {
      if (NabuError.is(err, 'BLOB_NOT_FOUND')) return 'absent';
      if (NabuError.is(err, 'BLOB_LOST')) return 'lost';
      if (NabuError.is(err, ...SILENCES)) return 'silent';
      throw err;
    }
  }

  /** Whoever is named holds its shard durably, and that is enough nodes. */
  #checkPlaces(blob: BlobLedger, stripe: Uint8Array, nodes: readonly (NodeId | undefined)[], startMs: number): void {
    const holders = new Set<NodeId>();
    let shards = 0;
    for (const [index, node] of nodes.entries()) {
      if (node === undefined) continue;
      holders.add(node);
      shards++;
      if (blob.mayBeDeletedSince(startMs) || this.emptied.has(node)) continue;
      const has = this.#recordsOn(node, blob).some(
        ({ meta }) => Buffer.compare(meta.stripeId, stripe) === 0 && (this.policy.k === 1 || meta.shardIndex === index),
      );
      assert.ok(has, `${blobKeyHex(blob.key)} was acknowledged, and ${node} does not have shard ${index}`);
    }
    assert.ok(holders.size >= this.policy.quorum, `${holders.size} nodes hold an acknowledged blob`);
    const most = Math.max(...[...holders].map((node) => nodes.filter((other) => other === node).length));
    assert.ok(most <= Math.max(1, this.policy.m), `${most} shards of one blob on a node`);
    assert.ok(shards >= this.fullShards, `${shards} shards of an acknowledged blob`);
  }
}

function isGood({ meta, crcs, payload }: SimRecord): boolean {
  return verifyBlocks(payload, 0, meta.shardLength, crcs) < 0;
}
