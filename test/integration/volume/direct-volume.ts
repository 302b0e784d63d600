import { randomBytes } from 'node:crypto';
import { Deadline } from '../../../common/concurrency/index.ts';
import type { NabuError } from '../../../common/errors/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { realClock, SeededRandom } from '../../../common/ports/index.ts';
import { parsePolicy, StampClock, stampOfMs, volumeId } from '../../../engine/blob/index.ts';
import { Slab, type Slot } from '../../../engine/slab/index.ts';
import type { VolumeSpec } from '../../../engine/volume/home-nodes.ts';
import { closeFd, createRing } from '../../../engine/volume/native.ts';
import { Volume, type VolumeLimits } from '../../../engine/volume/volume.ts';
import { type SimClient, SimCluster } from '../../sim/sim-cluster.ts';

const MIB = 1 << 20;

/** One volume without kernel and without sockets: the native core over simulated nodes, in real time. */
export class DirectVolume {
  readonly cluster: SimCluster;
  readonly spec: VolumeSpec;
  readonly slab: Slab;
  readonly #client: SimClient;
  readonly #limits: Partial<VolumeLimits>;
  #ring: number;
  #incarnation = 0n;
  #generation = 1n;
  volume: Volume | undefined;
  #onFailed: (err: NabuError) => void = () => undefined;

  constructor(options: { sizeBytes?: number; policy?: string; nodes?: number; limits?: Partial<VolumeLimits> } = {}) {
    this.slab = Slab.create({ sizeBytes: 384 * MIB });
    this.cluster = new SimCluster({
      stack: 'model',
      nodes: options.nodes ?? 6,
      slab: this.slab,
      clock: realClock,
      random: new SeededRandom(1),
      maxDelayMs: 0.1,
      flushMs: 0.1,
      setOwnerMs: 0.1,
      lossRate: 0,
      maxParity: 2,
    });
    this.#client = this.cluster.client('host');
    this.#limits = options.limits ?? {};
    this.spec = {
      id: volumeId(randomBytes(16).toString('hex')),
      sizeBytes: BigInt(options.sizeBytes ?? 256 * MIB),
      policy: parsePolicy(options.policy ?? 'ec:4+2'),
      homeSet: this.cluster.nodes,
      homeSetVersion: 1n,
      createdStamp: stampOfMs(Date.now()),
      failureDomain: 'host',
      maxShardsPerDomain: 1,
    };
    this.#ring = createRing(this.spec.id, 32 * MIB);
  }

  deadline(timeoutMs = 20_000): Deadline {
    return new Deadline({ clock: realClock, operation: 'test', timeoutMs });
  }

  async open(timeoutMs = 20_000): Promise<Volume> {
    using deadline = this.deadline(timeoutMs);
    this.volume = await Volume.open(
      {
        slab: this.slab,
        blobs: this.#client.blobs,
        nodes: this.#client.nodes,
        clock: realClock,
        stamps: new StampClock(realClock),
        logger: silentLogger,
        spec: this.spec,
        epoch: { generation: this.#generation, incarnation: ++this.#incarnation },
        frontend: { kind: 'direct', ringFd: this.#ring },
        readOnly: false,
        ioTimeoutMs: 0,
        limits: { readCacheBytes: 4 * MIB, mapCacheBytes: 4 * MIB, ...this.#limits },
        onFailed: (err) => this.#onFailed(err),
      },
      deadline,
    );
    return this.volume;
  }

  /** Resolves with what ends a volume for good. */
  failed(): Promise<NabuError> {
    return new Promise((resolve) => {
      this.#onFailed = resolve;
    });
  }

  /** The server dies; the ring is kept. */
  async crashServer(): Promise<void> {
    await this.volume?.abandon();
    this.volume = undefined;
  }

  /** The machine dies: the ring is gone too. */
  async losePower(): Promise<void> {
    await this.crashServer();
    closeFd(this.#ring);
    this.#ring = createRing(this.spec.id, 32 * MIB);
  }

  /** Another machine attaches it, with a ring of its own, and dies; the ring of here is as it was. */
  async elsewhere(work: () => Promise<void>): Promise<void> {
    const here = this.#ring;
    this.#ring = createRing(this.spec.id, 32 * MIB);
    try {
      this.#generation++;
      await this.open();
      await work();
      await this.crashServer();
    } finally {
      closeFd(this.#ring);
      this.#ring = here;
      this.#generation++;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MIB) await this.#write(offset + at, bytes.subarray(at, at + MIB));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let at = 0; at < length; at += MIB) pieces.push(await this.#read(offset + at, Math.min(MIB, length - at)));
    return Buffer.concat(pieces);
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#withSlot(bytes.length, async (slot, volume) => {
      slot.bytes.set(bytes);
      await volume.native.directWrite(offset, bytes.length, slot.offset);
    });
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    return await this.#withSlot(length, async (slot, volume) => {
      await volume.native.directRead(offset, length, slot.offset);
      return Buffer.from(slot.bytes);
    });
  }

  async flush(): Promise<void> {
    await this.#opened().native.directFlush();
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#opened().native.directTrim(offset, length);
  }

  async close(): Promise<void> {
    using deadline = this.deadline();
    await this.volume?.close(deadline);
    this.volume = undefined;
  }

  async dispose(): Promise<void> {
    await this.volume?.abandon();
    closeFd(this.#ring);
  }

  #opened(): Volume {
    if (this.volume === undefined) throw new Error('the volume is not open');
    return this.volume;
  }

  async #withSlot<T>(length: number, work: (slot: Slot, volume: Volume) => Promise<T>): Promise<T> {
    const slot = this.slab.alloc(length);
    try {
      return await work(slot, this.#opened());
    } finally {
      slot.release();
    }
  }
}
