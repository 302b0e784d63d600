import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';
import { DRIVER_NAME } from './driver-name.ts';

// What we read of a ResourceClaim (resource/v1). What we do not know of it may be there: it is the API server's to check.

const tolerationSchema = z.looseObject({
  key: z.string().default(''),
  operator: z.string(),
  value: z.string().default(''),
  effect: z.string().default(''),
});

const resultSchema = z.looseObject({
  request: z.string(),
  driver: z.string(),
  pool: z.string(),
  device: z.string(),
  adminAccess: z.boolean().default(false),
  shareID: z.string().optional(),
  consumedCapacity: z.record(z.string(), z.string()).optional(),
  tolerations: z.array(tolerationSchema).default([]),
});

const configSchema = z.looseObject({
  source: z.string(),
  requests: z.array(z.string()).default([]),
  opaque: z.looseObject({ driver: z.string(), parameters: z.unknown() }).optional(),
});

const claimSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string(), namespace: z.string(), uid: z.string() }),
  status: z
    .looseObject({
      allocation: z
        .looseObject({
          devices: z
            .looseObject({ results: z.array(resultSchema).default([]), config: z.array(configSchema).default([]) })
            .optional(),
        })
        .optional(),
    })
    .optional(),
});

export type AllocationResult = z.output<typeof resultSchema>;
export type Toleration = z.output<typeof tolerationSchema>;

/** Parameters that a class or the claim has for our driver. */
export type OpaqueConfig = {
  readonly source: string;
  /** Names of requests; none: all. */
  readonly requests: readonly string[];
  readonly parameters: unknown;
};

/** Who a claim is, as the kubelet names it. */
export type ClaimId = { readonly namespace: string; readonly name: string; readonly uid: string };

/** What the scheduler gave a claim. */
export type AllocatedClaim = {
  readonly id: ClaimId;
  /** Ours. */
  readonly results: readonly AllocationResult[];
  /** Of other drivers, which the same containers may have. */
  readonly others: readonly AllocationResult[];
  readonly configs: readonly OpaqueConfig[];
};

export function claimName({ namespace, name }: ClaimId): string {
  return `${namespace}/${name}`;
}

export function claimRefused(id: ClaimId, reason: string): NabuError {
  return NabuError.of('CLAIM_REFUSED', { claim: claimName(id), reason });
}

/**
 * Pure. Throws CLAIM_REFUSED when the object is not the claim that the kubelet means (a claim that was deleted and made anew
 * has its name and another uid), or has not been allocated; PROTOCOL_ERROR when it is no claim.
 */
export function allocatedClaim(object: unknown, wanted: ClaimId): AllocatedClaim {
  const parsed = claimSchema.safeParse(object);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const reason = `claim ${claimName(wanted)}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'no claim'}`;
    throw NabuError.of('PROTOCOL_ERROR', { peer: 'the API server', reason }, { cause: parsed.error });
  }
  const { metadata, status } = parsed.data;
  if (metadata.uid !== wanted.uid) {
    throw claimRefused(wanted, `its uid is ${metadata.uid}, the kubelet means ${wanted.uid}: it was made anew`);
  }
  if (status?.allocation === undefined) throw claimRefused(wanted, 'it is not allocated');
  const { results = [], config = [] } = status.allocation.devices ?? {};
  const { name, namespace, uid } = metadata;
  return {
    id: { name, namespace, uid },
    results: results.filter(({ driver }) => driver === DRIVER_NAME),
    others: results.filter(({ driver }) => driver !== DRIVER_NAME),
    configs: config.flatMap(({ source, requests, opaque }) =>
      opaque?.driver === DRIVER_NAME ? [{ source, requests, parameters: opaque.parameters }] : [],
    ),
  };
}

/** Whether a result's request (or subrequest, 'a/b') is meant by a list of names. */
export function appliesTo({ requests }: Pick<OpaqueConfig, 'requests'>, request: string): boolean {
  return requests.length === 0 || requests.includes(request) || requests.includes(request.split('/')[0] ?? request);
}
