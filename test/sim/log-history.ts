import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { silentLogger } from '../../common/logging/index.ts';
import type { SimClock } from '../../common/ports/index.ts';
import { logPolicy, SMALL_LOG_BYTES, StampClock, type WriterEpoch } from '../../engine/blob/index.ts';
import type { VolumeSpec } from '../../engine/volume/home-nodes.ts';
import { VolumeLog } from '../../engine/volume/volume-log.ts';
import { WaitBoard } from '../../engine/volume/wait-board.ts';
import { fenceFirst, fewestHolders } from './fence-first.ts';
import type { SimClient } from './sim-cluster.ts';
import { aheadOf } from './sim-host-clock.ts';

type Image =
  | { readonly kind: 'write'; readonly id: string }
  | { readonly kind: 'root'; readonly covered: string; readonly ids: readonly string[] };

const IMAGE_BYTES = 4096;

/** Large ones are stored as stripes, small ones as copies. */
function encode(image: Image, large: boolean): Buffer {
  const text = Buffer.from(JSON.stringify(image));
  const length = Math.max(large ? SMALL_LOG_BYTES : 0, Math.ceil((text.length + 1) / IMAGE_BYTES) * IMAGE_BYTES);
  const out = Buffer.alloc(length);
  text.copy(out);
  return out;
}

function decode(bytes: Buffer): Image {
  return JSON.parse(bytes.subarray(0, bytes.indexOf(0)).toString());
}

/**
 * What the world may rely on: the writes in order. Every opener must find all of it, and what it found beyond (puts whose writer
 * never heard the answer) is history from then on.
 */
export class History {
  #ids: string[] = [];
  #epoch = 0;

  get ids(): readonly string[] {
    return this.#ids;
  }

  /**
   * An opener serves: it found `ids`. One that heard late that its record was safe, when a newer one had found that record already,
   * may believe so: it must have found nothing else, and it will not write.
   */
  opened(epoch: number, ids: readonly string[]): void {
    if (epoch < this.#epoch) {
      const other = ids.findIndex((id, at) => this.#ids[at] !== id);
      if (other === -1) return;
      throw new Error(`opener ${epoch} found ${ids[other]} at ${other}, opener ${this.#epoch} ${this.#ids[other]}`);
    }
    const lost = this.#ids.findIndex((id, at) => ids[at] !== id);
    if (lost !== -1) {
      throw new Error(`opener ${epoch} found ${ids[lost]} at ${lost}, where ${this.#ids[lost]} was acknowledged`);
    }
    this.#epoch = epoch;
    this.#ids = [...ids];
  }

  /** A writer was told that its write is safe; it is the `at`-th of the history that this writer knows. */
  acknowledged(epoch: number, id: string, at: number): void {
    if (this.#ids[at] === id) return; // a newer opener has found it already
    if (epoch < this.#epoch)
      throw new Error(`${id} of opener ${epoch} was acknowledged, opener ${this.#epoch} does not have it`);
    if (at !== this.#ids.length)
      throw new Error(`${id} was acknowledged at ${at}, the history has ${this.#ids.length}`);
    this.#ids.push(id);
  }
}

export type ActorOptions = {
  readonly clock: SimClock;
  readonly client: SimClient;
  readonly spec: VolumeSpec;
  readonly epoch: WriterEpoch;
  /** Rises with every opener, for the history. */
  readonly turn: number;
  readonly history: History;
  readonly openTimeoutMs: number;
};

/** One opener of the volume: reads the history, then adds to it until somebody else does or it is stopped. */
export class LogActor {
  readonly #options: ActorOptions;
  readonly #log: VolumeLog;
  readonly #known: string[];
  #written = 0;
  #acknowledged = 0;
  #covered = 0n;
  #checkpointing: Promise<void> | undefined;

  private constructor(options: ActorOptions, log: VolumeLog, known: string[]) {
    this.#options = options;
    this.#log = log;
    this.#known = known;
  }

  get epoch(): WriterEpoch {
    return this.#options.epoch;
  }

  get fenced(): boolean {
    return NabuError.is(this.#log.fencedBy, 'FENCED');
  }

  /** Undefined when it could not be opened in time, or another opener was faster. */
  static async open(options: ActorOptions): Promise<LogActor | undefined> {
    const { clock, spec, epoch } = options;
    const leastFenced = spec.homeSet.length - (fewestHolders(spec.policy) - 1);
    const client = fenceFirst(options.client, epoch, leastFenced);
    const known: string[] = [];
    using deadline = new Deadline({ clock, operation: 'open', timeoutMs: options.openTimeoutMs });
    try {
      const log = await VolumeLog.open(
        {
          blobs: client.blobs,
          nodes: client.nodes,
          clock,
          stamps: new StampClock(aheadOf(clock, client.aheadMs)),
          logger: silentLogger,
          spec,
          epoch,
          waits: new WaitBoard(() => undefined),
        },
        () => ({
          loadRoot: async ({ slot, offset, length }) => {
            const root = decode(slot.bytes.subarray(offset, offset + length));
            if (root.kind !== 'root') throw new Error('the root is none');
            known.push(...root.ids);
            return BigInt(root.covered);
          },
          resume: async () => ({ through: 0n, lengths: new Map() }),
          apply: async (_sequence, { slot, offset, length }) => {
            const image = decode(slot.bytes.subarray(offset, offset + length));
            if (image.kind === 'write') known.push(image.id);
          },
        }),
        deadline,
      );
      options.history.opened(options.turn, known);
      const actor = new LogActor(options, log, known);
      actor.#covered = log.writer.nextSequence - 1n;
      return actor;
    } catch (err) {
      if (NabuError.is(err, 'VOLUME_OPEN_BLOCKED', 'FENCED')) return undefined;
      throw err;
    }
  }

  /** Several at once; resolves when all are acknowledged, or the writer was fenced or stopped. */
  async write(count: number, isLarge: () => boolean = () => false): Promise<void> {
    const acknowledged: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      const id = `${this.#options.turn}.${++this.#written}`;
      const at = this.#known.push(id) - 1;
      const { durable, sequence } = await this.#append({ kind: 'write', id }, isLarge());
      acknowledged.push(
        durable.then(() => {
          this.#acknowledged++;
          this.#covered = sequence;
          this.#options.history.acknowledged(this.#options.turn, id, at);
        }),
      );
    }
    await Promise.all(acknowledged).catch(ignoreEnd);
  }

  /** A root with everything acknowledged so far; what it makes dead is deleted. */
  async checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpoint().finally(() => {
      this.#checkpointing = undefined;
    });
    await this.#checkpointing;
  }

  async #checkpoint(): Promise<void> {
    const covered = this.#covered;
    const table = this.#log.encodeTable();
    const ids = this.#known.slice(0, this.#known.length - (this.#written - this.#acknowledged));
    const before = this.#log.checkpoint;
    try {
      const tableImage = await this.#appendBytes(table);
      const root = await this.#append({ kind: 'root', covered: covered.toString(), ids }, false);
      await Promise.all([tableImage.durable, root.durable]);
      using deadline = new Deadline({ clock: this.#options.clock, operation: 'note', timeoutMs: 5000 });
      const position = { rootSequence: root.sequence, throughSequence: covered, tableSequence: tableImage.sequence };
      await this.#log.publishCheckpoint({ ...position, epoch: this.#log.epoch }, 1n << 30n, deadline);
      const dead: bigint[] = [];
      for (let sequence = before?.throughSequence ?? 1n; sequence <= covered; sequence++)
        if (sequence > 0n) dead.push(sequence);
      await this.#log.dead.delete(dead);
    } catch (err) {
      ignoreEnd(err);
    }
  }

  async stop(): Promise<void> {
    await this.#log.close();
  }

  async #append(image: Image, large: boolean): Promise<{ sequence: bigint; durable: Promise<void> }> {
    return await this.#appendBytes(encode(image, large));
  }

  async #appendBytes(bytes: Buffer): Promise<{ sequence: bigint; durable: Promise<void> }> {
    const { client, spec } = this.#options;
    const length = Math.ceil(bytes.length / IMAGE_BYTES) * IMAGE_BYTES;
    using deadline = new Deadline({ clock: this.#options.clock, operation: 'room', timeoutMs: 60_000 });
    const stripe = await client.blobs.allocStripe(logPolicy(spec.policy, length), length, deadline);
    stripe.bytes.fill(0);
    stripe.bytes.set(bytes);
    return this.#log.writer.append(stripe, length);
  }
}

function ignoreEnd(err: unknown): void {
  if (!NabuError.is(err, 'FENCED', 'CANCELLED', 'VOLUME_OPEN_BLOCKED')) throw err;
}
