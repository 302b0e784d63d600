import { randomUUID } from 'node:crypto';
import type { KubeObject } from './kube-api-double.ts';
import type { Claim } from './kubelet-dra-double.ts';

/** One result of an allocation, as the scheduler writes it. */
export type Result = Readonly<Record<string, unknown>> & { readonly device: string };

export type ClaimOptions = {
  readonly config?: readonly object[];
  readonly uid?: string;
  readonly isAllocated?: boolean;
};

/** A claim whose devices have been decided, on node-1, and what the kubelet says of it. */
export function allocated(
  name: string,
  results: readonly (string | Result)[],
  { config = [], uid = randomUUID(), isAllocated = true }: ClaimOptions = {},
): { readonly object: KubeObject; readonly claim: Claim } {
  const whole = results.map((result, at) => ({
    request: `r${at}`,
    driver: 'devices.nabustore.io',
    pool: 'node-1',
    ...(typeof result === 'string' ? { device: result } : result),
  }));
  const status = isAllocated ? { allocation: { devices: { results: whole, config } } } : {};
  return { object: { metadata: { name, namespace: 'ml', uid }, status }, claim: { namespace: 'ml', name, uid } };
}
