import { blake3 } from '@napi-rs/blake-hash';
import { NabuError } from '../../common/errors/index.ts';
import type { BlobKey } from '../blob/index.ts';
import type { ClusterMap, MapNode } from './cluster-map.ts';

/** Index of a node in the map's list. */
export type NodeIndex = number;

export const VIRTUAL_NODES = 150;
/** 4,096 nodes at weight 64 would be 39 M points; what is asked for beyond this is a mistake in weights. */
const MAX_POINTS = 4_000_000;
const POINTS_PER_HASH = 4;

type Point = { readonly position: bigint; readonly node: NodeIndex };

/** A node's points depend on its id and weight alone, so that others keep theirs when it comes or goes. */
function pointsOf(node: MapNode, index: NodeIndex): Point[] {
  const count = Math.max(1, Math.round(VIRTUAL_NODES * node.weight));
  const points: Point[] = [];
  for (let block = 0; points.length < count; block++) {
    const hash = blake3(`nabu-ring\0${node.id}\0${block}`);
    for (let at = 0; at < POINTS_PER_HASH && points.length < count; at++) {
      points.push({ position: hash.readBigUInt64BE(at * 8), node: index });
    }
  }
  return points;
}

/**
 * Consistent hashing (Karger et al., 1997): 150 virtual nodes per unit of weight at 64-bit positions. Two sorted arrays of 32
 * bits each, because a binary search in a Uint32Array costs a third less than in a BigUint64Array.
 */
export class Ring {
  readonly map: ClusterMap;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #nodes: Uint16Array;
  /** Which nodes the walk in progress has met: the walk's number instead of a flag, so that nothing is cleared between walks. */
  readonly #met: Uint32Array;
  #walk = 0;

  /** Nodes that are `out` have no points. */
  constructor(map: ClusterMap) {
    const points = map.nodes.flatMap((node, index) => (node.state === 'out' ? [] : pointsOf(node, index)));
    if (points.length > MAX_POINTS) {
      throw NabuError.of('INVALID_ARGUMENT', {
        field: 'weight',
        reason: `the ring would have ${points.length} points, at most ${MAX_POINTS} are sensible`,
      });
    }
    points.sort((a, b) => (a.position === b.position ? a.node - b.node : a.position < b.position ? -1 : 1));
    this.map = map;
    this.#high = Uint32Array.from(points, ({ position }) => Number(position >> 32n));
    this.#low = Uint32Array.from(points, ({ position }) => Number(position & 0xffffffffn));
    this.#nodes = Uint16Array.from(points, ({ node }) => node);
    this.#met = new Uint32Array(map.nodes.length);
  }

  get points(): number {
    return this.#nodes.length;
  }

  /** All nodes on the ring, each once, in the order in which the key meets them. */
  *walk(key: BlobKey): Iterable<NodeIndex> {
    yield* this.firstNodes(key, this.map.nodes.length);
  }

  /**
   * The first distinct nodes clockwise from the key, at most `limit`, of those that `allowed` admits (1 = yes, by index).
   * `stop` is asked after each node and ends the walk early.
   */
  firstNodes(key: BlobKey, limit: number, allowed?: Uint8Array, stop?: (node: NodeIndex) => boolean): NodeIndex[] {
    const out: NodeIndex[] = [];
    const nodes = this.#nodes;
    const met = this.#met;
    const mark = this.#nextWalk();
    const total = nodes.length;
    for (let step = 0, at = this.#seek(key); step < total && out.length < limit; step++, at++) {
      if (at === total) at = 0;
      const node = nodes[at] ?? 0;
      if (met[node] === mark) continue;
      met[node] = mark;
      if (allowed !== undefined && allowed[node] !== 1) continue;
      out.push(node);
      if (stop?.(node) === true) break;
    }
    return out;
  }

  #nextWalk(): number {
    if (this.#walk === 0xffffffff) {
      this.#met.fill(0);
      this.#walk = 0;
    }
    return ++this.#walk;
  }

  /** Index of the first point at or after the key's position, 0 when there is none after it. */
  #seek(key: BlobKey): number {
    const high = u32(key, 0);
    const low = u32(key, 4);
    let from = 0;
    let to = this.#high.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const there = this.#high[middle] ?? 0;
      if (there < high || (there === high && (this.#low[middle] ?? 0) < low)) from = middle + 1;
      else to = middle;
    }
    return from === this.#high.length ? 0 : from;
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
  );
}
