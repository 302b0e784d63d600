import { NabuError } from '../../common/errors/index.ts';
import { type ClaimTemplate, claimTemplate } from './claim.ts';
import { type Json, listAt, numberAt, objectAt, objectOf, requiredText, textAt, textsOf } from './fields.ts';
import { ANNOTATION, GROUP_LABEL, MARKER_RESOURCE, RESOURCE_PREFIX } from './names.ts';
import { quantityOf } from './quantity.ts';

export type Toleration = {
  readonly key: string;
  readonly operator: string;
  readonly value: string;
  readonly effect: string;
};

/** A volume of a pod that is a claim: one of its own (a generic ephemeral volume), or one by name. */
export type PodClaim = {
  /** namespace/name */
  readonly key: string;
  /** What the claim will be made from, where it is the pod's own. */
  readonly template: ClaimTemplate | undefined;
};

/** What we keep of a v1.Pod. */
export type PodFacts = {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** '' while it is not bound. */
  readonly node: string;
  readonly nominatedNode: string;
  readonly priority: number;
  /** Succeeded or failed: it holds nothing any more. */
  readonly ended: boolean;
  readonly claims: readonly PodClaim[];
  /** Units of `nabustore.io/*`, the most that it holds at one time; without the marker. */
  readonly devices: ReadonlyMap<string, number>;
  /** '' without one. */
  readonly group: string;
  readonly annotations: {
    readonly models: string;
    readonly kvCache: string;
    readonly near: string;
    readonly locality: string;
  };
  /** Empty unless it waits for a node. */
  readonly tolerations: readonly Toleration[];
};

const NO_DEVICES: ReadonlyMap<string, number> = new Map();
const NO_ANNOTATIONS: PodFacts['annotations'] = Object.freeze({ models: '', kvCache: '', near: '', locality: '' });
/** What the API server allows in a list of volumes is less; the body may say anything. */
const MAX_CLAIMS = 1024;

function deviceUnits(container: Json): Map<string, number> {
  const resources = objectAt(container, 'resources');
  const units = new Map<string, number>();
  for (const list of ['limits', 'requests']) {
    for (const [name, quantity] of Object.entries(objectAt(resources, list))) {
      if (!name.startsWith(RESOURCE_PREFIX) || name === MARKER_RESOURCE) continue;
      const count = quantityOf(quantity) ?? 0;
      if (count > 0) units.set(name, count);
    }
  }
  return units;
}

/**
 * Containers hold theirs together, and so do init containers that restart always (sidecars); each other init container runs beside
 * the sidecars before it. As the scheduler counts (component-helpers, PodRequests).
 */
function devicesOf(spec: Json): ReadonlyMap<string, number> {
  const held = new Map<string, number>();
  const most = new Map<string, number>();
  const add = (to: Map<string, number>, units: ReadonlyMap<string, number>): void => {
    for (const [name, count] of units) to.set(name, (to.get(name) ?? 0) + count);
  };
  const raise = (units: ReadonlyMap<string, number>): void => {
    for (const [name, count] of units) most.set(name, Math.max(most.get(name) ?? 0, count));
  };
  for (const container of listAt(spec, 'initContainers').map(objectOf)) {
    const units = deviceUnits(container);
    if (units.size === 0) continue;
    if (textAt(container, 'restartPolicy') === 'Always') {
      add(held, units);
      raise(held);
    } else {
      const now = new Map(held);
      add(now, units);
      raise(now);
    }
  }
  for (const container of listAt(spec, 'containers').map(objectOf)) add(held, deviceUnits(container));
  raise(held);
  return most.size === 0 ? NO_DEVICES : most;
}

function claimsOf(spec: Json, namespace: string, podName: string): PodClaim[] {
  const claims = new Map<string, PodClaim>();
  for (const volume of listAt(spec, 'volumes').map(objectOf)) {
    const named = textAt(objectAt(volume, 'persistentVolumeClaim'), 'claimName');
    const template = objectAt(objectAt(volume, 'ephemeral'), 'volumeClaimTemplate');
    const isOwn = named === '' && Object.hasOwn(template, 'spec');
    if (named === '' && !isOwn) continue;
    // The name of the claim of a generic ephemeral volume: Kubernetes, "PersistentVolumeClaim naming".
    const key = `${namespace}/${isOwn ? `${podName}-${textAt(volume, 'name')}` : named}`;
    claims.set(key, { key, template: isOwn ? claimTemplate(objectAt(template, 'spec')) : undefined });
    if (claims.size > MAX_CLAIMS) {
      throw NabuError.of('INVALID_ARGUMENT', {
        field: 'Pod.spec.volumes',
        reason: `has more than ${MAX_CLAIMS} claims`,
      });
    }
  }
  return [...claims.values()];
}

function annotationsOf(meta: Json): PodFacts['annotations'] {
  const given = objectAt(meta, 'annotations');
  const [models, kvCache] = [textAt(given, ANNOTATION.models), textAt(given, ANNOTATION.kvCache)];
  const [near, locality] = [textAt(given, ANNOTATION.near), textAt(given, ANNOTATION.locality)];
  const isEmpty = models === '' && kvCache === '' && near === '' && locality === '';
  return isEmpty ? NO_ANNOTATIONS : { models, kvCache, near, locality };
}

function tolerationsOf(spec: Json): Toleration[] {
  return listAt(spec, 'tolerations').map((entry) => {
    const given = objectOf(entry);
    return {
      key: textAt(given, 'key'),
      operator: textAt(given, 'operator'),
      value: textAt(given, 'value'),
      effect: textAt(given, 'effect'),
    };
  });
}

/** A v1.Pod. Throws INVALID_ARGUMENT that names the field: no object, no name, no namespace, no uid. */
export function podFacts(value: unknown): PodFacts {
  const pod = objectOf(value);
  const meta = objectAt(pod, 'metadata');
  const spec = objectAt(pod, 'spec');
  const status = objectAt(pod, 'status');
  const name = requiredText(meta, 'name', 'Pod.metadata.name');
  const namespace = requiredText(meta, 'namespace', 'Pod.metadata.namespace');
  const node = textAt(spec, 'nodeName');
  const phase = textAt(status, 'phase');
  return {
    uid: requiredText(meta, 'uid', 'Pod.metadata.uid'),
    namespace,
    name,
    node,
    nominatedNode: textAt(status, 'nominatedNodeName'),
    priority: numberAt(spec, 'priority') ?? 0,
    ended: phase === 'Succeeded' || phase === 'Failed',
    claims: claimsOf(spec, namespace, name),
    devices: devicesOf(spec),
    group: new Map(textsOf(objectAt(meta, 'labels'))).get(GROUP_LABEL) ?? '',
    annotations: annotationsOf(meta),
    tolerations: node === '' ? tolerationsOf(spec) : [],
  };
}
