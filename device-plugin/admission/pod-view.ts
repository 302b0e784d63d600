import { z } from 'zod';

const quantities = z.record(z.string(), z.union([z.string(), z.number()])).nullish();

const resources = z
  .object({ limits: quantities, requests: quantities, claims: z.array(z.unknown()).nullish() })
  .nullish();

const container = z.object({
  name: z.string(),
  resources,
  restartPolicy: z.string().nullish(),
  volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })).nullish(),
  securityContext: z.object({ privileged: z.boolean().nullish() }).nullish(),
});

/** What we look at of a pod as the API server shows it (Kubernetes, core/v1, PodSpec); everything else may be anything. */
export const podSchema = z.object({
  spec: z.object({
    containers: z.array(container),
    initContainers: z.array(container).nullish(),
    ephemeralContainers: z.array(container).nullish(),
    volumes: z
      .array(z.object({ name: z.string(), emptyDir: z.object({ medium: z.string().nullish() }).nullish() }))
      .nullish(),
    resources,
  }),
});

export type PodView = z.output<typeof podSchema>;
export type ContainerView = z.output<typeof container>;
export type ResourcesView = ContainerView['resources'];

type Amount = string | number;

/** What is asked for of one resource: the limit, or the request where there is no limit. */
export function askedFor(view: ResourcesView, resource: string): Amount | undefined {
  return own(view?.limits, resource) ?? own(view?.requests, resource);
}

/** The names of all resources that are asked for. */
export function namesAskedFor(view: ResourcesView): readonly string[] {
  return [...new Set([...Object.keys(view?.limits ?? {}), ...Object.keys(view?.requests ?? {})])];
}

function own(amounts: Readonly<Record<string, Amount>> | null | undefined, name: string): Amount | undefined {
  return amounts !== null && amounts !== undefined && Object.hasOwn(amounts, name) ? amounts[name] : undefined;
}
