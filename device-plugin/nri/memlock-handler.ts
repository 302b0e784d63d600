import type { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { nri } from '../../proto/gen/messages.js';
import type { DeviceHolders } from './device-holders.ts';
import { hintsOf, isHinted } from './hints.ts';
import { limitText, memlockChange } from './memlock.ts';
import type { Adjustment, NriHandler } from './plugin-handlers.ts';

type Container = nri.pkg.api.v1alpha1.Container;
type CreateContainerRequest = nri.pkg.api.v1alpha1.CreateContainerRequest;

export type MemlockHandlerOptions = {
  readonly holders: Pick<DeviceHolders, 'heldBy'>;
  readonly bytes: bigint;
  /** Why the runtime could not set that limit; asked before each container that would get it. */
  readonly cannotRaise: () => Promise<string | undefined>;
  readonly logger: Logger;
};

/** Gives containers that hold our devices their limit of locked memory, and leaves all others as they are. */
export class MemlockHandler implements NriHandler {
  readonly #options: MemlockHandlerOptions;

  constructor(options: MemlockHandlerOptions) {
    this.#options = options;
  }

  async createContainer(request: CreateContainerRequest, deadline: Deadline): Promise<Adjustment | undefined> {
    const { pod, container } = request;
    if (pod === null || container === null) return undefined;
    const { holders, bytes, cannotRaise } = this.#options;
    const held = await holders.heldBy(pod, container, deadline);
    if (held === undefined) return undefined;
    const logger = this.#options.logger.child({ namespace: pod.namespace, pod: pod.name, container: container.name });
    const change = memlockChange(container.rlimits, bytes);
    if (change.kind === 'enough') return undefined;
    if (change.kind === 'taken') {
      logger.warn('the limit of locked memory is set by somebody else: left alone', { limit: limitText(change.bytes) });
      return undefined;
    }
    const reason = await cannotRaise();
    if (reason !== undefined) {
      logger.error('the limit of locked memory is not set: the container runtime may not', { reason });
      return undefined;
    }
    logger.info('limit of locked memory set', { limit: limitText(bytes), holds: held.what, says: held.says });
    return { rlimits: [change.rlimit] };
  }

  /** A limit is given when a container is made: those that are there keep what they have. */
  synchronize(containers: readonly Container[]): void {
    const earlier = containers.filter((container) => isHinted(hintsOf(container))).length;
    this.#options.logger.info('synchronized', { containers: containers.length, maybeWithoutTheLimit: earlier });
  }
}
