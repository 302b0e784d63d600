import { type Policy, rawBytes } from '../../engine/blob/index.ts';
import type { ClusterIndex, ContentFacts } from '../cluster/index.ts';
import { ANNOTATION, type ClaimTemplate, type PodClaim, type PodFacts } from '../kube/index.ts';
import { LOCALITIES, type Locality, type MadeVolume, type Need, type Reading, type WantedVolume } from './need.ts';

export type NeedRules = {
  /** Of a class that names none. */
  readonly defaultPolicy: Policy;
  /** How full a volume is taken to be of which nobody has told, 0 to 1. */
  readonly assumedFill: number;
  /** What a pod is taken to exchange with what it wants to be near. */
  readonly nearBytes: number;
};

/** A limit on what one annotation makes us look up. */
const MAX_NAMES = 256;
const GIVEN_LIMIT_CHARS = 80;
/** Of a model that nobody tells of. Nodes are compared by ratios: it only has to be far more than what does not matter. */
const ASSUMED_MODEL_BYTES = 100e9;

type Draft = {
  readonly made: MadeVolume[];
  readonly wanted: WantedVolume[];
  readonly readings: Reading[];
  readonly faults: string[];
  readonly unknown: string[];
};

/** What users wrote, as part of a sentence. */
function quoted(text: string): string {
  return JSON.stringify(text.length > GIVEN_LIMIT_CHARS ? `${text.slice(0, GIVEN_LIMIT_CHARS)}...` : text);
}

function namesIn(text: string, annotation: string, draft: Draft): string[] {
  const names = [...new Set(text.split(',').map((name) => name.trim()))].filter((name) => name !== '');
  if (names.length <= MAX_NAMES) return names;
  draft.faults.push(`the annotation ${annotation} has ${names.length} names, at most ${MAX_NAMES} are taken`);
  return [];
}

/**
 * What a pod needs of NabuStore, by what the index knows: volumes (bound, to be made, generic ephemeral), what its annotations say
 * it reads, and devices. Pure: the same pod and index give the same need. Costs what the pod names, whatever the cluster.
 */
export function needOf(pod: PodFacts, index: ClusterIndex, rules: NeedRules): Need {
  const draft: Draft = { made: [], wanted: [], readings: [], faults: [], unknown: [] };
  for (const claim of pod.claims) addClaim(claim, index, rules, draft);
  const locality = localityOf(pod.annotations.locality, draft);
  addContents(pod.annotations.models, 'model', locality, index, draft);
  addContents(pod.annotations.kvCache, 'kv-cache', locality, index, draft);
  addNear(pod, index, rules, draft);
  const { uid, namespace, name } = pod;
  return {
    pod: { uid, namespace, name },
    ...draft,
    devices: pod.devices,
    locality,
    tolerations: pod.tolerations,
  };
}

function localityOf(text: string, draft: Draft): Locality {
  if (text === '') return 'preferred';
  const known = LOCALITIES.find((locality) => locality === text);
  if (known === undefined) {
    draft.faults.push(`the annotation ${ANNOTATION.locality} is ${quoted(text)}, not one of ${LOCALITIES.join(', ')}`);
  }
  return known ?? 'preferred';
}

function addClaim(claim: PodClaim, index: ClusterIndex, rules: NeedRules, draft: Draft): void {
  const facts = index.claims.find(claim.key);
  if (facts !== undefined && facts.volumeName !== '') {
    const { isKnown, facts: volume } = index.claims.volume(facts.volumeName);
    if (!isKnown) draft.unknown.push(`volume ${facts.volumeName} of claim ${claim.key}`);
    if (volume === undefined) return;
    const record = index.storage.record(volume.handle);
    const sizeBytes = record?.sizeBytes ?? volume.sizeBytes;
    draft.made.push({
      kind: 'made',
      claimKey: claim.key,
      handle: volume.handle,
      accessModes: facts.accessModes,
      zones: volume.zones,
      record,
    });
    draft.readings.push({
      what: `volume ${claim.key}`,
      bytes: record?.liveBytes ?? sizeBytes * rules.assumedFill,
      spread: record === undefined ? index.storage.evenly : index.storage.spreadOfRecord(record),
      isAnchor: record !== undefined,
    });
    return;
  }
  const asked = facts ?? claim.template;
  if (asked === undefined) draft.unknown.push(`claim ${claim.key}`);
  else addWanted(claim.key, asked, index, rules, draft);
}

function addWanted(key: string, asked: ClaimTemplate, index: ClusterIndex, rules: NeedRules, draft: Draft): void {
  const wanted = wantedVolume(key, asked, index, rules);
  if (wanted === undefined) return;
  if (typeof wanted === 'string') {
    draft.faults.push(wanted);
    return;
  }
  draft.wanted.push(wanted);
  draft.readings.push({
    what: `new volume ${key}`,
    bytes: wanted.sizeBytes * rules.assumedFill,
    spread: index.storage.evenly,
    isAnchor: false,
  });
}

/** What has to be made for a claim: nothing where that is not ours to do, a sentence where it cannot be. Pure. */
export function wantedVolume(
  key: string,
  asked: ClaimTemplate,
  index: ClusterIndex,
  rules: NeedRules,
): WantedVolume | string | undefined {
  if (asked.className === '') return undefined; // only a volume made by hand can be bound to it
  const found = asked.className === undefined ? index.classes.byDefault() : index.classes.find(asked.className);
  if (found === undefined) {
    return asked.className === undefined
      ? `there is no default storage class for claim ${key}`
      : `there is no storage class ${quoted(asked.className)} for claim ${key}`;
  }
  if (!found.isOurs) return undefined;
  if (typeof found.wish === 'string')
    return `storage class ${found.name} of claim ${key} cannot be used: ${found.wish}`;
  const policy = found.wish.policy ?? rules.defaultPolicy;
  return {
    kind: 'wanted',
    claimKey: key,
    className: found.name,
    policy,
    failureDomain: found.wish.failureDomain,
    maxShardsPerDomain: found.wish.maxShardsPerDomain,
    sizeBytes: asked.sizeBytes,
    rawBytes: found.wish.thin ? 0 : rawOf(policy, asked.sizeBytes),
  };
}

/** A size beyond what an integer holds exactly is beyond what any cluster has: the sum in doubles says so too. */
function rawOf(policy: Policy, sizeBytes: number): number {
  return Number.isSafeInteger(sizeBytes)
    ? Number(rawBytes(policy, BigInt(sizeBytes)))
    : (sizeBytes * (policy.k + policy.m)) / policy.k;
}

/**
 * A model that nobody is known to hold comes from storage nodes, to a near and idle node sooner; a pool that nobody holds is empty. Neither
 * is a place that a pod could be made to be near to.
 */
function addContents(
  text: string,
  kind: ContentFacts['kind'],
  locality: Locality,
  index: ClusterIndex,
  draft: Draft,
): void {
  const annotation = kind === 'model' ? ANNOTATION.models : ANNOTATION.kvCache;
  for (const name of namesIn(text, annotation, draft)) {
    const what = `${kind === 'model' ? 'model' : 'KV cache'} ${quoted(name)}`;
    const content = index.storage.content(kind, name);
    if (content === undefined) {
      if (locality === 'required') draft.faults.push(`nothing is known to hold ${what}, which the pod must be near to`);
      else if (kind === 'model' && !index.storage.isUnknown) {
        const { evenly: spread } = index.storage;
        draft.readings.push({ what: `${what}, of unknown size`, bytes: ASSUMED_MODEL_BYTES, spread, isAnchor: false });
      }
      continue;
    }
    const spread = index.storage.spreadOfContent(content);
    draft.readings.push({ what, bytes: content.sizeBytes, spread, isAnchor: true });
  }
}

/** `claim:NAME`, `group:NAME`, or a name alone: a claim where there is one, else a group; all in the pod's namespace. */
function addNear({ annotations, namespace }: PodFacts, index: ClusterIndex, rules: NeedRules, draft: Draft): void {
  for (const target of namesIn(annotations.near, ANNOTATION.near, draft)) {
    const [prefix, rest] = target.includes(':') ? target.split(':', 2) : ['', target];
    const key = `${namespace}/${rest}`;
    if (prefix !== '' && prefix !== 'claim' && prefix !== 'group') {
      draft.faults.push(
        `the annotation ${ANNOTATION.near} names ${quoted(target)}, which is neither claim: nor group:`,
      );
      continue;
    }
    const isClaim = prefix === 'claim' || (prefix === '' && index.claims.find(key) !== undefined);
    const slots = isClaim ? index.claims.use(key).slots : index.pods.groupSlots(key);
    // The first of a group has nobody to be near to, and may go anywhere.
    if (slots.size === 0) continue;
    draft.readings.push({
      what: `near ${isClaim ? 'claim' : 'group'} ${rest}`,
      bytes: rules.nearBytes,
      spread: index.storage.spreadOfSlots(slots.keys()),
      isAnchor: true,
    });
  }
}
