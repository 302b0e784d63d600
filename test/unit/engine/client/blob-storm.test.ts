import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { type BlobKey, logKey, logPolicy, type Policy, parsePolicy } from '../../../../engine/blob/index.ts';
import { bytesOf, keyOf, take, VOLUME } from './client-bench.ts';
import { FakeCluster } from './fake-cluster.ts';

type Acknowledged = { readonly key: BlobKey; readonly policy: Policy; readonly data: Buffer };

const SEEDS = 4;
const STORM_MS = 4000;
const LANES = 4;
const EXPECTED = ['NOT_ENOUGH_NODES', 'TIMEOUT', 'DEVICE_FULL'] as const;
const UNREADABLE = ['BLOB_UNREADABLE', 'BLOB_UNKNOWN', 'TIMEOUT'] as const;

/** Nodes that die, freeze, fill up and come back under a seed while writers and readers work. */
class Storm {
  readonly cluster: FakeCluster;
  readonly clock = new SimClock();
  readonly acknowledged: Acknowledged[] = [];
  readonly refused = { puts: 0, gets: 0 };
  readonly #random: SeededRandom;
  readonly #mostBad: number;

  constructor(seed: number, nodes: number, mostBad: number) {
    this.#random = new SeededRandom(seed);
    this.#mostBad = mostBad;
    this.cluster = new FakeCluster(nodes, this.clock, seed);
  }

  /** Until the storm is over and every operation has settled; fails when one does not. */
  async run(): Promise<void> {
    const work = [
      this.#weather(),
      ...Array.from({ length: LANES }, (_, lane) => this.#write(lane)),
      this.#read(),
      this.#read(),
    ];
    let settled = false;
    const all = Promise.all(work).finally(() => {
      settled = true;
    });
    all.catch(() => undefined);
    for (let atMs = 0; !settled; atMs += 5) {
      assert.ok(atMs < 10 * STORM_MS, 'an operation did not settle');
      await this.clock.advance(5);
    }
    await all;
  }

  /** With every node back, all that was acknowledged is there, whole. */
  async check(): Promise<void> {
    for (const node of this.cluster.all()) {
      if (node.dead) node.revive();
      node.delayMs = 0;
    }
    let settled = false;
    const reading = this.#readAll().finally(() => {
      settled = true;
    });
    reading.catch(() => undefined);
    while (!settled) await this.clock.advance(5);
    await reading;
    this.cluster.close();
    assert.equal(this.cluster.slab.slots, this.cluster.slotsBefore);
  }

  async #readAll(): Promise<void> {
    for (const { key, policy, data } of this.acknowledged) {
      using deadline = this.cluster.deadline(60_000);
      const got = await this.cluster.client.get({ key, policy, blobLength: data.length, unreadable: 'wait', deadline });
      assert.ok(take(got).equals(data));
    }
  }

  get #over(): boolean {
    return this.clock.monotonicMs() >= STORM_MS;
  }

  async #weather(): Promise<void> {
    const nodes = this.cluster.all();
    const bad = new Set<number>();
    while (!this.#over) {
      await this.clock.sleep(10 + (this.#random.uint32() % 120));
      const at = this.#random.uint32() % nodes.length;
      const node = nodes[at];
      if (node === undefined) continue;
      if (bad.delete(at)) {
        node.full = false;
        // What a frozen node owes is lost when it is thawed: its connection was given up.
        if (node.frozen) node.kill();
        node.frozen = false;
        if (node.dead) node.revive();
      } else if (bad.size < this.#mostBad) {
        bad.add(at);
        const kind = this.#random.uint32() % 4;
        if (kind === 0) node.frozen = true;
        else if (kind === 1) node.full = true;
        else node.kill();
      } else {
        node.delayMs = this.#random.uint32() % 30;
      }
    }
    for (const node of nodes) {
      node.full = false;
      if (node.frozen) node.kill();
      node.frozen = false;
      if (node.dead) node.revive();
    }
  }

  async #write(lane: number): Promise<void> {
    for (let at = 0; !this.#over; at++) {
      const data = bytesOf(1 + (this.#random.uint32() % 60_000), lane * 1000 + at);
      const log = this.#random.uint32() % 3 === 0;
      const policy = log ? logPolicy(parsePolicy('ec:4+2'), data.length) : parsePolicy('ec:4+2');
      const epoch = { generation: 1n, incarnation: BigInt(lane) };
      const homeSet = this.cluster.maps.current().nodes.map(({ id }) => id);
      const sequence = BigInt(at);
      const key = log ? logKey(VOLUME, epoch, sequence) : keyOf(`${lane}/${at}`);
      using deadline = this.cluster.deadline(1500);
      try {
        const write = log ? { log: { owner: VOLUME, epoch, sequence, homeSet, homeSetVersion: 1n } } : {};
        const { nodes } = await this.cluster.client.put({ key, data, policy, deadline, ...write });
        assert.ok(new Set(nodes.filter((node) => node !== undefined)).size >= policy.quorum);
        this.acknowledged.push({ key, policy, data });
      } catch (err) {
        if (!NabuError.is(err, ...EXPECTED)) throw err;
        this.refused.puts++;
      }
      await this.clock.sleep(this.#random.uint32() % 20);
    }
  }

  async #read(): Promise<void> {
    while (!this.#over) {
      await this.clock.sleep(1 + (this.#random.uint32() % 20));
      const blob = this.acknowledged[this.#random.uint32() % Math.max(1, this.acknowledged.length)];
      if (blob === undefined) continue;
      const { key, policy, data } = blob;
      const offset = this.#random.uint32() % data.length;
      const length = 1 + (this.#random.uint32() % (data.length - offset));
      using deadline = this.cluster.deadline(1500);
      try {
        const got = await this.cluster.client.get({
          key,
          policy,
          blobLength: data.length,
          range: { offset, length },
          deadline,
        });
        assert.ok(take(got).equals(data.subarray(offset, offset + length)), 'wrong bytes');
      } catch (err) {
        if (!NabuError.is(err, ...UNREADABLE)) throw err;
        this.refused.gets++;
      }
    }
  }
}

describe('blob client in a storm', function () {
  this.timeout(60_000);

  for (const [nodes, mostBad] of [
    [6, 2],
    [6, 4],
    [9, 3],
  ] as const) {
    it(`keeps every acknowledged blob of ${nodes} nodes of which up to ${mostBad} die, freeze or fill up at any moment`, async () => {
      let blobs = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const storm = new Storm(seed * 1000 + nodes * 10 + mostBad, nodes, mostBad);
        try {
          await storm.run();
          await storm.check();
        } catch (err) {
          throw new Error(`seed ${seed}: ${err instanceof Error ? err.stack : err}`, { cause: err });
        }
        blobs += storm.acknowledged.length;
      }
      assert.ok(blobs > SEEDS * 20, `${blobs} blobs`);
    });
  }
});
