import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { NodeId, StampClock, WriterEpoch } from '../blob/index.ts';
import type { VolumeReaper, VolumeRecord } from '../control/index.ts';
import type { NodeHealth } from './node-health.ts';

const NODE_TIMEOUT_MS = 10_000;
const LAST_SEQUENCE = (1n << 64n) - 1n;

export type NodeVolumeReaperOptions = {
  readonly health: NodeHealth;
  readonly stamps: StampClock;
  readonly clock: Clock;
};

/** Frees deleted volumes over the transport: on each home node first the fence, so that nothing follows, then the owner tombstone. */
export class NodeVolumeReaper implements VolumeReaper {
  readonly #options: NodeVolumeReaperOptions;

  constructor(options: NodeVolumeReaperOptions) {
    this.#options = options;
  }

  async reap(volume: VolumeRecord, signal: AbortSignal): Promise<readonly NodeId[]> {
    const stamp = this.#options.stamps.next();
    const outcomes = await Promise.all(
      volume.homeSet.map(async (node) => ((await this.#reapOn(node, volume, stamp, signal)) ? undefined : node)),
    );
    return outcomes.filter((node) => node !== undefined);
  }

  /** A node that left the map holds nothing that anyone will ask for. */
  async #reapOn(node: NodeId, volume: VolumeRecord, stamp: bigint, signal: AbortSignal): Promise<boolean> {
    const { health, clock } = this.#options;
    using deadline = new Deadline({
      clock,
      operation: `freeing volume ${volume.id} on ${node}`,
      timeoutMs: NODE_TIMEOUT_MS,
      parent: signal,
    });
    const fence: WriterEpoch = { generation: volume.generation + 1n, incarnation: 0n };
    try {
      const client = health.call(node);
      await client.setOwner(volume.id, { fence, homeSetVersion: volume.homeSetVersion }, { deadline });
      await client.deleteOwnerRange(volume.id, { fromSequence: 0n, toSequence: LAST_SEQUENCE }, stamp, { deadline });
      return true;
    } catch (err) {
      if (NabuError.is(err, 'NODE_NOT_FOUND')) return true;
      if (NabuError.is(err)) return false;
      throw err;
    }
  }
}
