import { NabuError } from '../../common/errors/index.ts';
import { type Json, listAt, metadataOf, numberAt, objectAt, objectOf, requiredText, textAt } from './fields.ts';
import { RESOURCE_PREFIX } from './names.ts';

/** A model, or the pool of a KV cache, and what of it a node has. */
export type HeldContent = {
  readonly kind: 'model' | 'kv-cache';
  readonly id: string;
  /** Other names for it. */
  readonly names: readonly string[];
  readonly sizeBytes: number;
  /** At most the size. */
  readonly cachedBytes: number;
  /** All of it lies in NabuStore too: what no node near has comes from storage nodes. */
  readonly isStored: boolean;
};

/** Units of a resource on a NUMA node. */
export type ReportedDevices = {
  readonly resource: string;
  readonly numaNode: number;
  readonly total: number;
  /** At most the total. */
  readonly free: number;
};

/** What we keep of a nabustore.io/v1alpha1 LocalityReport: what a node says of itself. */
export type LocalityReportFacts = {
  /** Of the report, and of the node that it is about. */
  readonly node: string;
  /** As it is written: another text is another report. */
  readonly reportedAt: string;
  readonly reportedAtMs: number;
  /** After so long it is not believed any more. */
  readonly validMs: number;
  /** How busy the node's link to storage is, 0 to 1; undefined: it does not say. */
  readonly linkLoad: number | undefined;
  readonly contents: readonly HeldContent[];
  readonly devices: readonly ReportedDevices[];
};

/** What the schema of the resource (charts/nabustore/crds) allows. Looked at here too: a cluster may have another one. */
export const REPORT_LIMITS = {
  contents: 128,
  names: 8,
  nameChars: 128,
  devices: 64,
  units: 4096,
  numaNodes: 1024,
  minValidS: 5,
  maxValidS: 3600,
} as const;

/** RFC 3339, as `date-time` of the API server. */
const STAMP = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;
/** Annotations of pods list names, separated by commas. */
const NAME = /^[^,\s]+$/;
const KINDS: Readonly<Record<string, HeldContent['kind']>> = { Model: 'model', KVCache: 'kv-cache' };

function refused(field: string, reason: string): NabuError {
  return NabuError.of('INVALID_ARGUMENT', { field: `LocalityReport.${field}`, reason });
}

function whole(given: Json, key: string, most: number, field: string): number {
  const value = numberAt(given, key);
  if (value !== undefined && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw refused(`${field}.${key}`, `is not a whole number from 0 to ${most}`);
}

function nameOf(value: unknown, field: string): string {
  if (typeof value === 'string' && value.length <= REPORT_LIMITS.nameChars && NAME.test(value)) return value;
  throw refused(field, `is not 1 to ${REPORT_LIMITS.nameChars} characters without commas and white space`);
}

/** What is there has to be a list; what is not there, or null, is an empty one. */
function listOf(given: Json, key: string, most: number, field: string): readonly unknown[] {
  const isThere = Object.hasOwn(given, key) && given[key] !== null && given[key] !== undefined;
  if (isThere && !Array.isArray(given[key])) throw refused(`${field}.${key}`, 'is not a list');
  const list = listAt(given, key);
  if (list.length <= most) return list;
  throw refused(`${field}.${key}`, `has more than ${most} entries`);
}

function contentOf(value: unknown, field: string): HeldContent {
  const given = objectOf(value);
  const kindText = textAt(given, 'kind');
  const kind = Object.hasOwn(KINDS, kindText) ? KINDS[kindText] : undefined;
  if (kind === undefined) throw refused(`${field}.kind`, `is not one of ${Object.keys(KINDS).join(', ')}`);
  const id = nameOf(given.id, `${field}.id`);
  const listed = listOf(given, 'names', REPORT_LIMITS.names, field);
  const names = listed.map((name, at) => nameOf(name, `${field}.names[${at}]`));
  const sizeBytes = whole(given, 'sizeBytes', Number.MAX_SAFE_INTEGER, field);
  const cachedBytes = whole(given, 'cachedBytes', sizeBytes, field);
  return { kind, id, names: [...new Set(names)], sizeBytes, cachedBytes, isStored: given.stored === true };
}

function devicesOf(value: unknown, field: string): ReportedDevices {
  const given = objectOf(value);
  const resource = nameOf(given.resource, `${field}.resource`);
  if (!resource.startsWith(RESOURCE_PREFIX))
    throw refused(`${field}.resource`, `does not begin with ${RESOURCE_PREFIX}`);
  const numaNode = whole(given, 'numaNode', REPORT_LIMITS.numaNodes - 1, field);
  const total = whole(given, 'total', REPORT_LIMITS.units, field);
  return { resource, numaNode, total, free: whole(given, 'free', total, field) };
}

/** Throws INVALID_ARGUMENT that names the first field that makes no sense: then nothing of the report is believed. */
export function localityReportFacts(value: unknown): LocalityReportFacts {
  const report = objectOf(value);
  const { name: node } = metadataOf(report, 'LocalityReport');
  const spec = objectAt(report, 'spec');
  const reportedAt = requiredText(spec, 'reportedAt', 'LocalityReport.spec.reportedAt');
  const reportedAtMs = STAMP.test(reportedAt) ? Date.parse(reportedAt) : Number.NaN;
  if (Number.isNaN(reportedAtMs)) throw refused('spec.reportedAt', 'is not a time as RFC 3339 writes it');
  const validS = whole(spec, 'validSeconds', REPORT_LIMITS.maxValidS, 'spec');
  if (validS < REPORT_LIMITS.minValidS) throw refused('spec.validSeconds', `is less than ${REPORT_LIMITS.minValidS}`);
  const hasLoad = Object.hasOwn(spec, 'linkLoadPercent');
  const linkLoad = hasLoad ? whole(spec, 'linkLoadPercent', 100, 'spec') / 100 : undefined;
  const listed = listOf(spec, 'contents', REPORT_LIMITS.contents, 'spec');
  const contents = listed.map((content, at) => contentOf(content, `spec.contents[${at}]`));
  const ids = new Set(contents.map(({ kind, id }) => `${kind}:${id}`));
  if (ids.size < contents.length) throw refused('spec.contents', 'names one content twice');
  const said = listOf(spec, 'devices', REPORT_LIMITS.devices, 'spec');
  const devices = said.map((device, at) => devicesOf(device, `spec.devices[${at}]`));
  const places = new Set(devices.map(({ resource, numaNode }) => `${numaNode} ${resource}`));
  if (places.size < devices.length) throw refused('spec.devices', 'names one resource of a NUMA node twice');
  return { node, reportedAt, reportedAtMs, validMs: validS * 1000, linkLoad, contents, devices };
}
