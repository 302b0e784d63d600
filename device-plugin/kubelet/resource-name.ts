import { NabuError } from '../../common/errors/index.ts';

declare const brand: unique symbol;
/** An extended resource as pods ask for it, 'nabustore.io/rdma'. */
export type ResourceName = string & { readonly [brand]: 'ResourceName' };

/**
 * A DNS subdomain of RFC 1123 before the slash. Quota puts "requests." before the whole, which still has to be a qualified
 * name of at most 253 characters, so that the domain has nine less.
 */
const DOMAIN = /^(?=.{1,244}\/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[^/]*$/;
const NAME = /^[^/]*\/(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/**
 * What the kubelet takes as an extended resource (Kubernetes, pkg/apis/core/v1/helper, IsExtendedResourceName): qualified,
 * not of kubernetes.io, not beginning with "requests.". Throws INVALID_ARGUMENT.
 */
export function resourceName(text: string): ResourceName {
  const refuse = (reason: string): NabuError =>
    NabuError.of('INVALID_ARGUMENT', { field: 'resource', reason: `${JSON.stringify(text)} ${reason}` });
  if (!DOMAIN.test(text)) throw refuse('is not DOMAIN/NAME with a domain of RFC 1123, in lower case');
  if (!NAME.test(text)) throw refuse("needs a name of at most 63 letters, digits, '-', '_' and '.'");
  if (text.includes('kubernetes.io/')) throw refuse('is in a domain that is for Kubernetes alone');
  if (text.startsWith('requests.')) throw refuse('begins as quotas do');
  return text as ResourceName;
}

/**
 * The base name of the resource's socket, which is what RegisterRequest.endpoint holds: the kubelet joins it to its own
 * folder. One file per resource, and no two resources share one: a domain has no '_'.
 */
export function endpointOf(resource: ResourceName): string {
  return `${resource.replace('/', '_')}.sock`;
}
