import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { type Epoch, epoch, isNodeId, type NodeId } from '../blob/index.ts';

/** up: serves. down: known dead, keeps its place. draining: serves reads, gets nothing new. out: has no place on the ring. */
export const NODE_STATES = ['up', 'down', 'draining', 'out'] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** What may fail together. A zone contains racks, a rack contains hosts. */
export const FAILURE_DOMAINS = ['zone', 'rack', 'host'] as const;
export type FailureDomain = (typeof FAILURE_DOMAINS)[number];

export type MapNode = {
  readonly id: NodeId;
  readonly address: { readonly host: string; readonly port: number };
  readonly domain: { readonly zone: string; readonly rack: string; readonly host: string };
  /** Share of the ring relative to other nodes, usually capacity in TiB; more than 0. */
  readonly weight: number;
  readonly state: NodeState;
  /** Raw bytes of its device. */
  readonly capacityBytes?: number | undefined;
  /** 32 lower-case hex digits. */
  readonly deviceId?: string | undefined;
  /** Decimal; changes when the node's store is created anew. */
  readonly incarnation?: string | undefined;
};

/** Who is in the cluster, numbered. Immutable: a change is a new map with a greater epoch. */
export type ClusterMap = {
  /** 32 lower-case hex digits. */
  readonly clusterId: string;
  readonly epoch: Epoch;
  /** Sorted by id. */
  readonly nodes: readonly MapNode[];
};

const MAX_NODES = 4096;
const hex32 = z.string().regex(/^[0-9a-f]{32}$/);
const label = z.string().min(1).max(253);

const mapNodeSchema = z.strictObject({
  id: z.string().refine(isNodeId),
  address: z.strictObject({ host: z.string().min(1).max(253), port: z.int().min(1).max(65535) }),
  domain: z.strictObject({ zone: label, rack: label, host: label }),
  weight: z.number().positive().max(1024),
  state: z.enum(NODE_STATES),
  capacityBytes: z.int().nonnegative().optional(),
  deviceId: hex32.optional(),
  incarnation: z
    .string()
    .regex(/^\d{1,20}$/)
    .optional(),
});

const clusterMapSchema = z.strictObject({
  clusterId: hex32,
  epoch: z.int().nonnegative().transform(epoch),
  nodes: z.array(mapNodeSchema).max(MAX_NODES),
});

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') {
    for (const member of Object.values(value)) deepFreeze(member);
    Object.freeze(value);
  }
  return value;
}

/** Checks a map that comes from outside. `source` names it in the error (INVALID_ARGUMENT). */
export function parseClusterMap(value: unknown, source: string): ClusterMap {
  const parsed = clusterMapSchema.safeParse(value);
  if (!parsed.success) {
    throw NabuError.of('INVALID_ARGUMENT', {
      field: source,
      reason: `is no cluster map: ${z.prettifyError(parsed.error)}`,
    });
  }
  const nodes = [...parsed.data.nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const [at, node] of nodes.entries()) {
    if (node.id === nodes[at + 1]?.id) {
      throw NabuError.of('INVALID_ARGUMENT', { field: source, reason: `names node ${node.id} twice` });
    }
  }
  return deepFreeze({ ...parsed.data, nodes });
}

export function parseClusterMapText(text: string | Uint8Array, source: string): ClusterMap {
  let value: unknown;
  try {
    value = JSON.parse(typeof text === 'string' ? text : Buffer.from(text).toString('utf8'));
  } catch (cause) {
    throw NabuError.of('INVALID_ARGUMENT', { field: source, reason: 'is not JSON' }, { cause });
  }
  return parseClusterMap(value, source);
}

/** Racks of two zones may share a name, so a domain is named by its whole path. */
export function domainOf(node: MapNode, failureDomain: FailureDomain): string {
  const { zone, rack, host } = node.domain;
  if (failureDomain === 'zone') return zone;
  return failureDomain === 'rack' ? `${zone}/${rack}` : `${zone}/${rack}/${host}`;
}

/** Where the current map comes from; a change is announced once per new epoch. */
export interface MapSource {
  current(): ClusterMap;
  /** Returns what ends the subscription. */
  onChange(listener: (map: ClusterMap) => void): () => void;
  /** A peer answered with a newer epoch than ours: fetch the map soon. Does not wait. */
  hint?(epoch: Epoch): void;
}
