import { NabuError } from '../../common/errors/index.ts';
import { type BlobKey, type NodeId, type Policy, walkLimit } from '../blob/index.ts';
import {
  type ClusterMap,
  DEFAULT_RULES,
  domainOf,
  type FailureDomain,
  type MapSource,
  type Placement,
  placeShards,
  Ring,
} from '../placement/index.ts';
import type { Spread } from './types.ts';

type View = {
  readonly map: ClusterMap;
  readonly ring: Ring;
  readonly domains: Map<FailureDomain, Map<NodeId, string>>;
};

export type Place = Placement & {
  readonly epoch: number;
  readonly domainOf: (node: NodeId) => string;
};

function viewOf(map: ClusterMap): View {
  return { map, ring: new Ring(map), domains: new Map() };
}

function domainNames(view: View, kind: FailureDomain): Map<NodeId, string> {
  let names = view.domains.get(kind);
  if (names === undefined) {
    names = new Map(view.map.nodes.map((node) => [node.id, domainOf(node, kind)]));
    view.domains.set(kind, names);
  }
  return names;
}

/** Where blobs belong by the map of now, and where they may still be by the one before. */
export class Placements {
  #current: View;
  #previous: View | undefined;
  readonly #stop: () => void;

  constructor(maps: MapSource) {
    this.#current = viewOf(maps.current());
    this.#stop = maps.onChange((map) => {
      this.#previous = this.#current;
      this.#current = viewOf(map);
    });
  }

  get map(): ClusterMap {
    return this.#current.map;
  }

  /** NOT_ENOUGH_NODES when no node of the map may hold the blob. */
  forWrite(key: BlobKey, policy: Policy, spread: Spread, homeSet?: readonly NodeId[]): Place {
    const place = this.#place(this.#current, key, policy, spread, homeSet);
    if (place.owners.length > 0) return place;
    throw NabuError.of('NOT_ENOUGH_NODES', { operation: 'placing a blob', needed: policy.quorum, available: 0 });
  }

  /** Owners of now; then in the walk those of the previous map, then further nodes, at most 2(k+m). */
  forRead(key: BlobKey, policy: Policy, spread: Spread, homeSet?: readonly NodeId[]): Place {
    const place = this.#place(this.#current, key, policy, spread, homeSet);
    if (this.#previous === undefined) return place;
    const before = this.#place(this.#previous, key, policy, spread, homeSet);
    const known = domainNames(this.#current, 'host');
    const walk = new Set(place.owners);
    for (const node of before.owners) if (known.has(node)) walk.add(node);
    for (const node of place.walk) walk.add(node);
    return { ...place, walk: [...walk].slice(0, walkLimit(policy)) };
  }

  close(): void {
    this.#stop();
  }

  #place(view: View, key: BlobKey, policy: Policy, spread: Spread, homeSet?: readonly NodeId[]): Place {
    const failureDomain = spread.failureDomain ?? DEFAULT_RULES.failureDomain;
    const maxShardsPerDomain = spread.maxShardsPerDomain ?? DEFAULT_RULES.maxShardsPerDomain;
    const placement = placeShards(view.map, view.ring, key, policy, { failureDomain, maxShardsPerDomain }, homeSet);
    const names = domainNames(view, failureDomain);
    return { ...placement, epoch: view.map.epoch, domainOf: (node) => names.get(node) ?? node };
  }
}
