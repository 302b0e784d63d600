import assert from 'node:assert/strict';
import { NabuError } from '../../common/errors/index.ts';
import { type SeededRandom, SimClock } from '../../common/ports/index.ts';
import {
  compareWriterEpochs,
  type Policy,
  parsePolicy,
  stampOfMs,
  volumeId,
  type WriterEpoch,
} from '../../engine/blob/index.ts';
import type { VolumeSpec } from '../../engine/volume/home-nodes.ts';
import { fewestHolders } from './fence-first.ts';
import { History, LogActor } from './log-history.ts';
import { type SimClient, SimCluster, type SimClusterOptions } from './sim-cluster.ts';
import { runUntil } from './sim-run.ts';

export type OpenerWorldOptions = Pick<SimClusterOptions, 'stack' | 'slab' | 'setOwnerMs' | 'lossRate'> & {
  readonly policy: string;
  readonly nodes: number;
  readonly random: SeededRandom;
};

/** A process that opens the volume. When it dies or is cut off for good, its place is taken by one with another name. */
export type Host = { name: string; client: SimClient; actor: LogActor | undefined };

export type Outcome = { readonly acknowledged: number; readonly openers: number; readonly opened: boolean };

const LOOK_MS = 4;
const MAX_SKEW_MS = 5000;

/** A cluster, one volume, two hosts that open it in turn or at once, and the one history that all of them must agree on. */
export class OpenerWorld {
  readonly clock = new SimClock();
  readonly random: SeededRandom;
  readonly policy: Policy;
  readonly cluster: SimCluster;
  readonly spec: VolumeSpec;
  readonly history = new History();
  readonly hosts: readonly [Host, Host];
  /** Which part of the writes is large enough to be stored as a stripe. */
  largeShare = 0;
  /** Devices that were lost for good, however many at once. */
  lostDevices = 0;
  readonly #running = new Set<Promise<void>>();
  readonly #errors: unknown[] = [];
  readonly #forgotten: LogActor[] = [];
  readonly #clocksDiffer: boolean;
  #turn = 0;
  #epoch: WriterEpoch = { generation: 0n, incarnation: 0n };
  #openers = 0;

  constructor(options: OpenerWorldOptions) {
    const { random, slab, stack, nodes } = options;
    this.random = random;
    this.policy = parsePolicy(options.policy);
    this.cluster = new SimCluster({
      ...options,
      stack,
      nodes,
      slab,
      clock: this.clock,
      random: random.fork(),
      maxParity: this.policy.m,
    });
    this.spec = {
      id: volumeId(Buffer.from(random.bytes(16)).toString('hex')),
      sizeBytes: 1n << 30n,
      policy: this.policy,
      homeSet: this.cluster.nodes,
      homeSetVersion: 1n,
      createdStamp: stampOfMs(this.clock.nowMs()),
      failureDomain: 'host',
      maxShardsPerDomain: 1,
    };
    this.#clocksDiffer = this.chance(0.5);
    this.hosts = [this.#host('host-a'), this.#host('host-b')];
  }

  get fewestHolders(): number {
    return fewestHolders(this.policy);
  }

  /**
   * More was lost than the promises cover: the last opener may be refused then, but may never be wrong. A stripe that was written
   * degraded, and replicas of which a quorum sufficed, survive one loss; small blobs of an erasure-coded volume have m + 1 copies.
   */
  get beyondPromise(): boolean {
    const copied = this.policy.kind === 'ec' && this.largeShare === 0;
    return this.lostDevices > (copied ? this.policy.m : 1);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.random.uint32() % Math.max(1, from.length)];
    assert.ok(picked !== undefined);
    return picked;
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.random.float() * (to - from);
  }

  chance(probability: number): boolean {
    return this.random.float() < probability;
  }

  shuffled<T>(from: readonly T[]): T[] {
    const out = [...from];
    for (let at = out.length - 1; at > 0; at--) {
      const other = this.random.uint32() % (at + 1);
      [out[at], out[other]] = [out[other] as T, out[at] as T];
    }
    return out;
  }

  /** In the background; what goes wrong fails the schedule at the next `advance`. */
  run(work: Promise<void>): void {
    const task = work.catch((err: unknown) => void this.#errors.push(err)).finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  async advance(byMs: number): Promise<void> {
    await this.clock.advance(byMs);
    if (this.#errors.length > 0) throw this.#errors[0];
  }

  /** Until something is so, but no longer than this. */
  async until(condition: () => boolean, limitMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < limitMs && !condition(); passedMs += LOOK_MS) await this.advance(LOOK_MS);
  }

  /** With every node there and every link whole: the host serves, and nobody came after it. */
  async serve(host: Host): Promise<void> {
    const { cluster } = this;
    cluster.network.healAll();
    cluster.quicken();
    for (const node of cluster.nodes) cluster.start(node);
    const isLast = (): boolean => host.actor !== undefined && compareWriterEpochs(host.actor.epoch, this.#epoch) === 0;
    if (isLast() && host.actor?.fenced === false) return;
    this.run(this.open(host, 5000));
    await this.until(isLast, 5000);
  }

  /** The epoch that was given out last. */
  get lastEpoch(): WriterEpoch {
    return this.#epoch;
  }

  async open(host: Host, openTimeoutMs: number): Promise<void> {
    const { client } = host;
    const actor = await this.#openAs(client, openTimeoutMs);
    if (actor === undefined) return;
    if (host.client !== client) {
      this.#forgotten.push(actor); // it died meanwhile, and does not know
      return;
    }
    const before = host.actor;
    host.actor = actor;
    if (before === undefined) return;
    // Half of the old writers do not know that they are dead: they go on trying.
    if (this.chance(0.5)) await before.stop();
    else this.#forgotten.push(before);
  }

  write(host: Host, count: number): void {
    this.run(host.actor?.write(count, () => this.chance(this.largeShare)) ?? Promise.resolve());
  }

  checkpoint(host: Host): void {
    this.run(host.actor?.checkpoint() ?? Promise.resolve());
  }

  /** The host's process is cut off for good (it comes to life once more when everything is healed), another takes its place. */
  replace(host: Host): void {
    for (const node of this.cluster.nodes) this.cluster.network.cut(host.name, node);
    if (host.actor !== undefined) this.#forgotten.push(host.actor);
    Object.assign(host, this.#host(`${host.name}+`));
  }

  /** Everything is healed; a last opener must find the history, and can add to it. */
  async finish(): Promise<Outcome> {
    const { cluster } = this;
    cluster.network.healAll();
    cluster.quicken();
    for (const node of cluster.nodes) cluster.start(node);
    await this.advance(3000);
    const opening = this.#openAs(cluster.client('last'), 60_000).catch((err: unknown) => {
      if (this.beyondPromise && NabuError.is(err, 'BLOB_LOST', 'BLOB_NOT_FOUND')) return undefined;
      throw err;
    });
    const actor = await runUntil(this.clock, opening, 120_000);
    if (this.#errors.length > 0) throw this.#errors[0];
    if (!this.beyondPromise) assert.ok(actor, 'the volume cannot be opened although every node is back');
    if (actor !== undefined) await runUntil(this.clock, actor.write(3), 60_000);
    const acknowledged = this.history.ids.length;
    const stops = [actor, ...this.hosts.map((host) => host.actor), ...this.#forgotten].map((each) => each?.stop());
    await runUntil(this.clock, Promise.all(stops), 120_000);
    await runUntil(this.clock, Promise.all(this.#running), 120_000);
    cluster.close();
    if (this.#errors.length > 0) throw this.#errors[0];
    return { acknowledged, openers: this.#openers, opened: actor !== undefined };
  }

  #host(name: string): Host {
    const aheadMs = this.#clocksDiffer ? Math.floor(this.between(-MAX_SKEW_MS, MAX_SKEW_MS)) : 0;
    return { name, client: this.cluster.client(name, aheadMs), actor: undefined };
  }

  async #openAs(client: SimClient, openTimeoutMs: number): Promise<LogActor | undefined> {
    const turn = ++this.#turn;
    const { clock, spec, history } = this;
    const actor = await LogActor.open({ clock, client, spec, epoch: this.#nextEpoch(), turn, history, openTimeoutMs });
    if (actor !== undefined) this.#openers++;
    return actor;
  }

  /** A new attach, or a restart of the server within one. */
  #nextEpoch(): WriterEpoch {
    const { generation, incarnation } = this.#epoch;
    const restart = generation > 0n && this.chance(0.4);
    this.#epoch = restart
      ? { generation, incarnation: incarnation + 1n }
      : { generation: generation + 1n, incarnation: BigInt(this.random.uint32() % 5) };
    return this.#epoch;
  }
}
