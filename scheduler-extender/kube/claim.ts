import { type Json, listAt, metadataOf, objectAt, objectOf, requiredText, textAt } from './fields.ts';
import { quantityOf } from './quantity.ts';

export const ACCESS_MODES = ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod'] as const;
export type AccessMode = (typeof ACCESS_MODES)[number];

/** What a claim asks for, whether it is there or will be made from a template. */
export type ClaimTemplate = {
  /** Undefined: the default class. '' (as it may be written) names no class: only volumes made by hand fit. */
  readonly className: string | undefined;
  readonly sizeBytes: number;
  readonly accessModes: readonly AccessMode[];
};

/** What we keep of a v1.PersistentVolumeClaim. */
export type ClaimFacts = ClaimTemplate & {
  /** namespace/name */
  readonly key: string;
  readonly uid: string;
  /** '' while it is not bound. */
  readonly volumeName: string;
  /** Where the scheduler has decided to have it made; '' while it has not. */
  readonly selectedNode: string;
};

/** k8s.io/component-helpers/storage/volume, AnnSelectedNode. */
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const DEPRECATED_CLASS = 'volume.beta.kubernetes.io/storage-class';

/** The spec of a claim or of a template. What is missing asks for nothing. */
export function claimTemplate(spec: Json): ClaimTemplate {
  const modes = listAt(spec, 'accessModes');
  const className = Object.hasOwn(spec, 'storageClassName') ? spec.storageClassName : undefined;
  return {
    className: typeof className === 'string' ? className : undefined,
    sizeBytes: quantityOf(objectAt(objectAt(spec, 'resources'), 'requests').storage) ?? 0,
    accessModes: ACCESS_MODES.filter((mode) => modes.includes(mode)),
  };
}

export function claimFacts(value: unknown): ClaimFacts {
  const claim = objectOf(value);
  const { meta, name } = metadataOf(claim, 'PersistentVolumeClaim');
  const spec = objectAt(claim, 'spec');
  const annotations = objectAt(meta, 'annotations');
  const template = claimTemplate(spec);
  const oldClass = textAt(annotations, DEPRECATED_CLASS);
  return {
    ...template,
    className: template.className ?? (oldClass === '' ? undefined : oldClass),
    key: `${requiredText(meta, 'namespace', 'PersistentVolumeClaim.metadata.namespace')}/${name}`,
    uid: requiredText(meta, 'uid', 'PersistentVolumeClaim.metadata.uid'),
    volumeName: textAt(spec, 'volumeName'),
    selectedNode: textAt(annotations, SELECTED_NODE),
  };
}
