import { z } from 'zod';
import { type ParsedRequest, parsedAs } from '../../common/admission/index.ts';
import { type PodFacts, podFacts } from '../kube/index.ts';

const amounts = z.record(z.string(), z.union([z.string(), z.number()])).nullish();
const container = z.object({ resources: z.object({ limits: amounts, requests: amounts }).nullish() });
const requirement = z.looseObject({
  key: z.string(),
  operator: z.string(),
  values: z.array(z.string()).nullish(),
});
export const termSchema = z.looseObject({
  matchExpressions: z.array(requirement).nullish(),
  matchFields: z.array(requirement).nullish(),
});

/** What we look at of a new pod (Kubernetes, core/v1, PodSpec); everything else may be anything, and stays. */
const newPodSchema = z.object({
  metadata: z
    .object({
      name: z.string().nullish(),
      generateName: z.string().nullish(),
      uid: z.string().nullish(),
      annotations: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
  spec: z.object({
    schedulerName: z.string().nullish(),
    nodeName: z.string().nullish(),
    schedulingGates: z.array(z.object({ name: z.string() })).nullish(),
    containers: z.array(container).min(1, 'a pod has a container'),
    initContainers: z.array(container).nullish(),
    affinity: z
      .object({
        nodeAffinity: z
          .object({
            requiredDuringSchedulingIgnoredDuringExecution: z
              .object({ nodeSelectorTerms: z.array(termSchema).nullish() })
              .nullish(),
            preferredDuringSchedulingIgnoredDuringExecution: z.array(z.unknown()).nullish(),
          })
          .nullish(),
        podAffinity: z
          .object({ preferredDuringSchedulingIgnoredDuringExecution: z.array(z.unknown()).nullish() })
          .nullish(),
      })
      .nullish(),
  }),
});

type NewPodView = z.output<typeof newPodSchema>;
export type NewPod = {
  readonly metadata: NonNullable<NewPodView['metadata']>;
  readonly spec: NewPodView['spec'];
  readonly facts: PodFacts;
};

/** No claim or group is called so: what is not named yet is not mistaken for something else. */
const UNNAMED_END = '*';

/**
 * A pod before it is made: it has no UID yet, its name may be made later, and its namespace may be said by the request alone. Throws
 * INVALID_ARGUMENT that names the field.
 */
export function newPod({ uid, namespace, object, field }: ParsedRequest): NewPod {
  const { metadata, spec } = parsedAs(newPodSchema, object, field);
  const given = Object(Reflect.get(Object(object), 'metadata'));
  const said: unknown = Reflect.get(given, 'namespace');
  const facts = podFacts({
    ...Object(object),
    metadata: {
      ...given,
      name: metadata?.name || `${metadata?.generateName ?? ''}${UNNAMED_END}`,
      namespace: typeof said === 'string' && said !== '' ? said : namespace || 'default',
      uid: metadata?.uid || uid,
    },
  });
  return { metadata: metadata ?? {}, spec, facts };
}
