import type { Deadline } from '../../common/concurrency/index.ts';
import type { NodeId, Stamp, VolumeId } from '../blob/index.ts';
import type { NodeHealth } from '../client/index.ts';
import type { OwnerRange, OwnerState, OwnerUpdate } from '../store/index.ts';
import type { HomeNodes } from './home-nodes.ts';

/** The home nodes over the connections of a blob client. */
export class ClientHomeNodes implements HomeNodes {
  readonly #health: NodeHealth;

  constructor(health: NodeHealth) {
    this.#health = health;
  }

  async setOwner(node: NodeId, owner: VolumeId, update: OwnerUpdate, deadline: Deadline): Promise<OwnerState> {
    return await this.#health.call(node).setOwner(owner, update, { deadline });
  }

  async deleteOwnerRange(
    node: NodeId,
    owner: VolumeId,
    range: OwnerRange,
    stamp: Stamp,
    deadline: Deadline,
  ): Promise<void> {
    await this.#health.call(node).deleteOwnerRange(owner, range, stamp, { deadline });
  }
}
