import { type BlobKey, blobKeyHex, type NodeId } from '../blob/index.ts';

/** One thing that a volume waits for. */
export type VolumeWait = {
  readonly operation: string;
  readonly key: string;
  readonly nodes: readonly NodeId[];
  readonly reason: string;
};

/** What a volume waits for at this moment, by blob: shown by `nabu status`, told to the log when it begins. */
export class WaitBoard {
  readonly #waits = new Map<string, VolumeWait>();
  readonly #onChange: (wait: VolumeWait | undefined) => void;

  /** onChange: a wait has begun or changed, or (undefined) the last one is over. */
  constructor(onChange: (wait: VolumeWait | undefined) => void) {
    this.#onChange = onChange;
  }

  get all(): readonly VolumeWait[] {
    return [...this.#waits.values()];
  }

  begin(operation: string, key: BlobKey, nodes: readonly NodeId[], reason: string): void {
    const wait = { operation, key: blobKeyHex(key), nodes, reason };
    const id = `${operation} ${wait.key}`;
    const before = this.#waits.get(id);
    this.#waits.set(id, wait);
    if (before?.nodes.join() !== nodes.join() || before.reason !== reason) this.#onChange(wait);
  }

  end(operation: string, key: BlobKey): void {
    if (this.#waits.delete(`${operation} ${blobKeyHex(key)}`) && this.#waits.size === 0) this.#onChange(undefined);
  }
}
