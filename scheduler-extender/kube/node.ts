import { listAt, metadataOf, objectAt, objectOf, textAt } from './fields.ts';
import { MARKER_RESOURCE, RESOURCE_PREFIX, TAINT_PREFIXES, ZONE_KEY } from './names.ts';
import { quantityOf } from './quantity.ts';

export type Taint = { readonly key: string; readonly value: string; readonly effect: string };

/** Which labels of a node say where it is; the first that a node has counts. */
export type PlaceLabels = {
  readonly zone: readonly string[];
  readonly rack: readonly string[];
  readonly rail: readonly string[];
};

export const DEFAULT_PLACE_LABELS: PlaceLabels = {
  zone: [ZONE_KEY, 'topology.kubernetes.io/zone'],
  rack: ['topology.nabustore.io/rack', 'topology.kubernetes.io/rack'],
  rail: ['topology.nabustore.io/rail'],
};

/** Storage nodes that say no zone or rack are in these (engine control, RegisterNode). */
export const UNNAMED = 'default';

/** What we keep of a v1.Node. */
export type NodeFacts = {
  readonly name: string;
  readonly zone: string;
  readonly rack: string;
  /** '' without one. */
  readonly rail: string;
  /** That storage or the fabric cannot be reached from it. */
  readonly taints: readonly Taint[];
  /** Units of `nabustore.io/*` that it can hand out. */
  readonly devices: ReadonlyMap<string, number>;
  /** Gb/s of its link to storage; undefined: it does not say. */
  readonly linkGbps: number | undefined;
  /** Whether data goes past the CPU to a GPU there. */
  readonly isDirect: boolean;
};

/** The labels that `nabu device-plugin` gives to node-feature-discovery. */
const RATE_LABEL = 'nabustore.io/rdma.rate-gbps';
const GDS_LABEL = 'nabustore.io/gds.mode';

const NO_TAINTS: readonly Taint[] = Object.freeze([]);
const NO_DEVICES: ReadonlyMap<string, number> = new Map();

function taintsOf(spec: ReturnType<typeof objectAt>): readonly Taint[] {
  const taints = listAt(spec, 'taints')
    .map(objectOf)
    .map((taint) => ({ key: textAt(taint, 'key'), value: textAt(taint, 'value'), effect: textAt(taint, 'effect') }))
    .filter(({ key }) => TAINT_PREFIXES.some((prefix) => key.startsWith(prefix)));
  return taints.length === 0 ? NO_TAINTS : taints;
}

function devicesOf(allocatable: ReturnType<typeof objectAt>): ReadonlyMap<string, number> {
  const devices = Object.entries(allocatable).flatMap(([name, value]): [string, number][] => {
    const count = name.startsWith(RESOURCE_PREFIX) && name !== MARKER_RESOURCE ? quantityOf(value) : undefined;
    return count === undefined ? [] : [[name, count]];
  });
  return devices.length === 0 ? NO_DEVICES : new Map(devices);
}

export function nodeFacts(value: unknown, keys: PlaceLabels = DEFAULT_PLACE_LABELS): NodeFacts {
  const node = objectOf(value);
  const { meta, name } = metadataOf(node, 'Node');
  const labels = objectAt(meta, 'labels');
  const first = (names: readonly string[]): string =>
    names.map((label) => textAt(labels, label)).find((text) => text !== '') ?? '';
  const rate = Number(textAt(labels, RATE_LABEL));
  return {
    name,
    zone: first(keys.zone) || UNNAMED,
    rack: first(keys.rack) || UNNAMED,
    rail: first(keys.rail),
    taints: taintsOf(objectAt(node, 'spec')),
    devices: devicesOf(objectAt(objectAt(node, 'status'), 'allocatable')),
    linkGbps: Number.isFinite(rate) && rate > 0 ? rate : undefined,
    isDirect: textAt(labels, GDS_LABEL) !== '',
  };
}
