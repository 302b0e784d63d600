import { isIP } from 'node:net';
import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import { LOG_LEVELS } from '../../common/logging/index.ts';
import { parsePolicy } from '../../engine/blob/index.ts';
import { DISTANCES, type Distance } from '../cluster/index.ts';
import { DEFAULT_RULES, type DecisionRules } from '../decide/index.ts';
import { DEFAULT_PLACE_LABELS, type PlaceLabels } from '../kube/index.ts';
import { DEFAULT_TIMES } from '../reservations/index.ts';
import type { TlsFiles } from '../server/index.ts';

const MIB = 1 << 20;
const share = z.number().min(0).max(1);
const ms = z.int().min(1).max(3_600_000);
const { need, filter, weights } = DEFAULT_RULES;
const byDistance = (values: Readonly<Record<Distance, number>>, factor: number): string =>
  DISTANCES.map((distance) => Number((values[distance] * factor).toPrecision(6))).join(',');

export const EXTENDER_CONFIG = defineConfig('scheduler-extender', {
  listen: option(z.string().min(1), 'where schedulers ask, HOST:PORT', '0.0.0.0:8470'),
  health: option(
    z.string(),
    'where health, readiness and metrics are told without TLS, HOST:PORT; empty: nowhere else',
    '',
  ),
  tlsCert: option(z.string(), 'certificate of the server, PEM; empty: plain HTTP', ''),
  tlsKey: option(z.string(), 'its key, PEM', ''),
  clientCa: option(
    z.string(),
    'authority that signs the certificates of schedulers, PEM; empty: any client may ask',
    '',
  ),
  clientNames: option(
    z.string(),
    'common names of those who may ask, separated by commas; empty: all it has signed',
    '',
  ),
  kubeconfig: option(z.string(), 'how the API server is reached; empty: as the pod that this runs in', ''),
  control: option(z.string(), 'address of control, for storage nodes and volumes; empty: by the API server alone', ''),
  controlPollMs: option(ms, 'how often control is read', 5000),
  staleMs: option(ms, 'after so long without a word what is known counts as old', 90_000),
  lease: option(z.string(), 'NAMESPACE/NAME of the Lease whose holder answers; empty: this one answers always', ''),
  service: option(
    z.string(),
    'NAMESPACE/NAME of a Service without a selector, led to the one that answers; empty: readiness leads it',
    '',
  ),
  address: option(
    z.string().refine((text) => text === '' || isIP(text) !== 0, 'must be an IP address'),
    'IP address that it is led to: of this pod',
    '',
  ),
  wake: option(
    z.string(),
    'NAMESPACE/NAME of a CSIStorageCapacity that is changed, or made, for schedulers to ask again when reserved capacity is free; empty: they ask at the next event',
    '',
  ),
  identity: option(z.string(), 'under which the Lease is held; empty: host name and process', ''),
  defaultPolicy: option(z.string().min(1), "of classes that name none, as control's", need.defaultPolicy.name),
  assumedFill: option(share, 'how full a volume is taken to be of which nobody has told', need.assumedFill),
  nearBytes: option(z.number().min(0), 'what a pod is taken to exchange with what it wants to be near', need.nearBytes),
  requiredShare: option(share, 'of data that must be near, what has to be in the rack', filter.requiredShare),
  bandwidthGbytes: option(
    z.string(),
    'GB/s from the same host, rail, rack, zone, and from elsewhere',
    byDistance(weights.bytesPerSecond, 1e-9),
  ),
  roundTripUs: option(z.string(), 'microseconds there and back, by the same distances', byDistance(weights.rttS, 1e6)),
  firstByteTrips: option(z.number().min(0).max(1000), 'round trips until the first byte', weights.firstByteTrips),
  indirectSlowdown: option(
    z.number().min(1).max(100),
    'how much longer a load takes through the CPU, for pods that ask for a direct path',
    weights.indirectSlowdown,
  ),
  hcaContention: option(z.number().min(0).max(0.95), 'of a link, what HCAs in use may take', weights.hcaContention),
  numaSlowdown: option(
    z.number().min(1).max(100),
    'how much longer a load takes whose HCA and memory are on two NUMA nodes',
    weights.numaSlowdown,
  ),
  insignificantMs: option(
    z.number().min(0.001),
    'differences far below this do not matter',
    weights.insignificantS * 1000,
  ),
  worstRatio: option(z.number().min(1.01).max(1e6), 'so many times the best time scores 0', weights.worstRatio),
  zoneLabels: option(
    z.string().min(1),
    'labels that name the zone, the first that a node has',
    DEFAULT_PLACE_LABELS.zone.join(','),
  ),
  rackLabels: option(z.string().min(1), 'labels that name the rack', DEFAULT_PLACE_LABELS.rack.join(',')),
  railLabels: option(z.string(), 'labels that name the rail', DEFAULT_PLACE_LABELS.rail.join(',')),
  promisedMs: option(ms, 'how long a reservation waits for the API to show what came of it', DEFAULT_TIMES.promisedMs),
  provisioningMs: option(ms, 'how long one waits for its volume', DEFAULT_TIMES.provisioningMs),
  settlingMs: option(ms, 'how long one waits for published capacities', DEFAULT_TIMES.settlingMs),
  maxBodyBytes: option(
    z
      .int()
      .min(4096)
      .max(64 * MIB),
    'requests above this are refused',
    64 * MIB,
  ),
  maxTotalBytes: option(z.int().min(4096), 'of all requests that are being received', 256 * MIB),
  requestTimeoutMs: option(ms, 'from the headers of a request to its last byte', 5000),
  answerWithinMs: option(ms, 'as the httpTimeout of the scheduler: later answers are not given', 500),
  maxConnections: option(z.int().min(1).max(65_536), 'at one time', 256),
  logLevel: option(z.enum(LOG_LEVELS), 'what is logged', 'info'),
});

export type ExtenderConfig = ConfigOf<typeof EXTENDER_CONFIG.options>;

/** What decisions are made of: whoever else decides has to be told the same. */
export const RULE_OPTIONS = pick(EXTENDER_CONFIG.options, [
  'defaultPolicy',
  'assumedFill',
  'nearBytes',
  'requiredShare',
  'bandwidthGbytes',
  'roundTripUs',
  'firstByteTrips',
  'indirectSlowdown',
  'hcaContention',
  'numaSlowdown',
  'insignificantMs',
  'worstRatio',
]);

/** What is watched, and by which labels nodes have their places. */
export const WATCH_OPTIONS = pick(EXTENDER_CONFIG.options, [
  'kubeconfig',
  'control',
  'controlPollMs',
  'staleMs',
  'zoneLabels',
  'rackLabels',
  'railLabels',
]);

function pick<T extends object, K extends keyof T>(from: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as Pick<T, K>;
}

/** 'HOST:PORT', '[::1]:8470'. Throws CONFIG_INVALID. */
export function hostPort(name: string, text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw NabuError.of('CONFIG_INVALID', { source: name, reason: `${JSON.stringify(text)} is not HOST:PORT` });
}

export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** Five numbers, one for each distance, in one order: `rising` or falling with it. Throws CONFIG_INVALID. */
function distances(name: string, text: string, isRising: boolean): Record<Distance, number> {
  const values = listOf(text).map(Number);
  const isWhole = values.length === DISTANCES.length && values.every((value) => Number.isFinite(value) && value > 0);
  const isOrdered = values.every(
    (value, at) => at === 0 || value === values[at - 1] || value > (values[at - 1] ?? 0) === isRising,
  );
  if (!isWhole || !isOrdered) {
    const order = isRising ? 'never less' : 'never more';
    const reason = `it is ${JSON.stringify(text)}; allowed: five numbers above 0 for ${DISTANCES.join(', ')}, ${order} from farther away`;
    throw NabuError.of('CONFIG_INVALID', { source: name, reason });
  }
  const [host = 0, rail = 0, rack = 0, zone = 0, far = 0] = values;
  return { host, rail, rack, zone, far };
}

function scaled(values: Record<Distance, number>, by: (value: number) => number): Record<Distance, number> {
  const { host, rail, rack, zone, far } = values;
  return { host: by(host), rail: by(rail), rack: by(rack), zone: by(zone), far: by(far) };
}

/** Throws CONFIG_INVALID, POLICY_UNKNOWN. */
export function rulesOf(config: ConfigOf<typeof RULE_OPTIONS>): DecisionRules {
  return {
    need: {
      defaultPolicy: parsePolicy(config.defaultPolicy),
      assumedFill: config.assumedFill,
      nearBytes: config.nearBytes,
    },
    filter: { requiredShare: config.requiredShare },
    weights: {
      bytesPerSecond: scaled(distances('bandwidthGbytes', config.bandwidthGbytes, false), (value) => value * 1e9),
      rttS: scaled(distances('roundTripUs', config.roundTripUs, true), (value) => value / 1e6),
      firstByteTrips: config.firstByteTrips,
      indirectSlowdown: config.indirectSlowdown,
      hcaContention: config.hcaContention,
      numaSlowdown: config.numaSlowdown,
      insignificantS: config.insignificantMs / 1000,
      worstRatio: config.worstRatio,
    },
  };
}

export function labelsOf(config: Pick<ExtenderConfig, 'zoneLabels' | 'rackLabels' | 'railLabels'>): PlaceLabels {
  return { zone: listOf(config.zoneLabels), rack: listOf(config.rackLabels), rail: listOf(config.railLabels) };
}

/** Undefined: plain HTTP. Throws CONFIG_INVALID where one file is given and not the other. */
export function tlsOf({ tlsCert, tlsKey, clientCa }: ExtenderConfig): TlsFiles | undefined {
  const isPlain = tlsCert === '' && tlsKey === '';
  if (isPlain && clientCa === '') return undefined;
  if (tlsCert !== '' && tlsKey !== '') return { certFile: tlsCert, keyFile: tlsKey, clientCaFile: clientCa };
  throw NabuError.of('CONFIG_INVALID', { source: 'tlsCert', reason: 'TLS needs tlsCert and tlsKey, both' });
}
