import { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { blobKeyHex, type NodeId } from '../blob/index.ts';
import type { DegradedMark } from '../store/index.ts';
import type { CallDeadline } from '../transport/index.ts';
import type { NodeHealth } from './node-health.ts';

const LATER_TIMEOUT_MS = 10_000;
/** The descriptor beside each shard says the same, so a list that is too long may drop marks. */
const MAX_LATER = 512;

export type DegradedRecorderOptions = { readonly health: NodeHealth; readonly clock: Clock; readonly logger: Logger };

/** Notes on the nodes that hold a blob which of its shards are not where they belong: the list that repair works from. */
export class DegradedRecorder {
  readonly #options: DegradedRecorderOptions;
  #later = 0;

  constructor(options: DegradedRecorderOptions) {
    this.#options = options;
  }

  /** Resolves when one holder has it durably; the others get it too. When none takes it, the log says so. */
  async record(mark: DegradedMark, holders: readonly NodeId[], deadline: CallDeadline): Promise<void> {
    const { health, logger } = this.#options;
    const marked = holders.map((node) =>
      health.call(node).markDegraded(mark.key, mark.stripeId, mark.missingMask, { deadline }),
    );
    try {
      await Promise.any(marked);
    } catch (error) {
      logger.warn('no node took the note that a blob is degraded', {
        key: blobKeyHex(mark.key),
        nodes: holders,
        error,
      });
    }
  }

  /** The same in the background, for blobs whose descriptors on the devices say it already. */
  recordLater(mark: DegradedMark, holders: readonly NodeId[]): void {
    if (this.#later >= MAX_LATER) return;
    this.#later++;
    const deadline = new Deadline({
      clock: this.#options.clock,
      operation: 'marking a blob degraded',
      timeoutMs: LATER_TIMEOUT_MS,
    });
    this.record(mark, holders, deadline).finally(() => {
      this.#later--;
      deadline[Symbol.dispose]();
    });
  }
}
