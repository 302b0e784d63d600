import { NabuError } from '../../common/errors/index.ts';
import type { Epoch } from '../blob/index.ts';
import type { ClusterMap, MapSource } from '../placement/index.ts';

/** The newest cluster map that this node has heard of, from control or from a peer. */
export class NodeMap implements MapSource {
  #current: ClusterMap;
  readonly #listeners = new Set<(map: ClusterMap) => void>();
  readonly #hints = new Set<(epoch: Epoch) => void>();

  constructor(initial: ClusterMap) {
    this.#current = initial;
  }

  current(): ClusterMap {
    return this.#current;
  }

  onChange(listener: (map: ClusterMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A peer has a newer map than ours: whoever follows control should look. */
  hint(epoch: Epoch): void {
    for (const listener of this.#hints) listener(epoch);
  }

  onHint(listener: (epoch: Epoch) => void): () => void {
    this.#hints.add(listener);
    return () => this.#hints.delete(listener);
  }

  /** Takes a newer map; an older or equal one changes nothing. PERMISSION_DENIED for a map of another cluster. */
  adopt(map: ClusterMap): boolean {
    const { clusterId, epoch } = this.#current;
    if (map.clusterId !== clusterId) {
      const reason = `this node is of cluster ${clusterId}, the map of ${map.clusterId}`;
      throw NabuError.of('PERMISSION_DENIED', { operation: 'setting the cluster map', reason });
    }
    if (map.epoch <= epoch) return false;
    this.#current = map;
    for (const listener of this.#listeners) listener(map);
    return true;
  }
}
