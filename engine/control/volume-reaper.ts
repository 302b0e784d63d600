import type { NodeId } from '../blob/index.ts';
import type { VolumeRecord } from './volume-record.ts';

/**
 * Frees what a deleted volume holds on stor-nodes. Control itself sends nothing to nodes: whoever composes the process
 * injects this.
 */
export interface VolumeReaper {
  /**
   * Fences the volume's writers and leaves an owner tombstone on every node of its home set. Idempotent. Resolves with the
   * nodes that have not confirmed; empty: all is freed.
   */
  reap(volume: VolumeRecord, signal: AbortSignal): Promise<readonly NodeId[]>;
}
