import { NabuError } from '../../common/errors/index.ts';
import type { csi } from '../../proto/gen/messages.js';
import { printable, refuse } from './fields.ts';

export const ZONE_KEY = 'topology.nabustore.io/zone';
const NODE_KEY = 'topology.nabustore.io/node';
const KEYS: ReadonlySet<string> = new Set([ZONE_KEY, NODE_KEY]);

export type Segments = { readonly zone?: string; readonly node?: string };

function parseSegments(field: string, topology: csi.v1.Topology): Segments {
  const entries = Object.entries(topology.segments);
  if (entries.length === 0) throw refuse(field, 'has no segments');
  for (const [key, value] of entries) {
    if (!KEYS.has(key))
      throw refuse(field, `key ${JSON.stringify(printable(key))} is not one of ${[...KEYS].join(', ')}`);
    if (value === '') throw refuse(field, `${key} is empty`);
  }
  const zone = topology.segments[ZONE_KEY];
  const node = topology.segments[NODE_KEY];
  return { ...(zone === undefined ? {} : { zone }), ...(node === undefined ? {} : { node }) };
}

/**
 * Where a new volume can be reached from: from every zone of the cluster, as its shards come over the network wherever they
 * lie. A requirement is met when it leaves at least one of these zones. Throws INVALID_ARGUMENT, TOPOLOGY_UNREACHABLE.
 */
export function reachableTopologies(
  requirement: csi.v1.TopologyRequirement | null,
  zones: readonly string[],
): { segments: Record<string, string> }[] {
  const parse = (name: string, list: readonly csi.v1.Topology[]): Segments[] =>
    list.map((topology, at) => parseSegments(`accessibility_requirements.${name}[${at}]`, topology));
  const requisite = parse('requisite', requirement?.requisite ?? []);
  const preferred = parse('preferred', requirement?.preferred ?? []);
  const wanted = requisite.length > 0 ? requisite : preferred;
  const isMet = wanted.length === 0 || wanted.some(({ zone }) => zone === undefined || zones.includes(zone));
  if (!isMet && requisite.length > 0) {
    throw NabuError.of('TOPOLOGY_UNREACHABLE', {
      requested: requisite.map(({ zone }) => printable(zone ?? '')),
      available: [...zones],
    });
  }
  return zones.map((zone) => ({ segments: { [ZONE_KEY]: zone } }));
}

/** Whether a volume can be reached from a topology that GetCapacity asks about. */
export function isReachable(topology: csi.v1.Topology | null, zones: readonly string[]): boolean {
  if (topology === null || Object.keys(topology.segments).length === 0) return true;
  const { zone } = parseSegments('accessible_topology', topology);
  return zone === undefined || zones.includes(zone);
}
