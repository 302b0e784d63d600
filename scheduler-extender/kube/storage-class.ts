import { NabuError } from '../../common/errors/index.ts';
import { domainShardLimit, type Policy, parsePolicy } from '../../engine/blob/index.ts';
import { FAILURE_DOMAINS, type FailureDomain } from '../../engine/placement/index.ts';
import { metadataOf, objectAt, objectOf, textAt } from './fields.ts';
import { DRIVER } from './names.ts';

/** How a class of ours wants its volumes kept, as the driver will read the same parameters. */
export type ClassPolicy = {
  /** Undefined: the cluster's default. */
  readonly policy: Policy | undefined;
  readonly failureDomain: FailureDomain;
  readonly maxShardsPerDomain: number;
  readonly thin: boolean;
  readonly tier: string;
};

/** What we keep of a storage.k8s.io/v1 StorageClass. */
export type StorageClassFacts = {
  readonly name: string;
  readonly isOurs: boolean;
  readonly isDefault: boolean;
  /** Several defaults: the newest counts. */
  readonly createdAt: string;
  /** Made when a pod is placed, not when the claim is. */
  readonly waitsForPod: boolean;
  /** A sentence instead, where the driver would refuse the parameters. */
  readonly wish: ClassPolicy | string;
};

const IS_DEFAULT = 'storageclass.kubernetes.io/is-default-class';

function wishOf(parameters: ReturnType<typeof objectAt>): ClassPolicy | string {
  const given = (key: string): string => textAt(parameters, key);
  let policy: Policy | undefined;
  try {
    policy = given('policy') === '' ? undefined : parsePolicy(given('policy'));
  } catch (err) {
    if (NabuError.is(err)) return err.message;
    throw err;
  }
  const domain = given('failureDomain');
  const failureDomain = domain === '' ? 'host' : FAILURE_DOMAINS.find((known) => known === domain);
  if (failureDomain === undefined) return `its failureDomain is not one of ${FAILURE_DOMAINS.join(', ')}`;
  const shards = given('maxShardsPerDomain');
  if (!/^[1-8]?$/.test(shards)) return 'its maxShardsPerDomain is not 1 to 8';
  const maxShardsPerDomain = shards === '' ? 1 : Number(shards);
  if (policy !== undefined && maxShardsPerDomain > domainShardLimit(policy))
    return `its maxShardsPerDomain is more than ${policy.name} allows`;
  return { policy, failureDomain, maxShardsPerDomain, thin: given('provisioning') === 'thin', tier: given('tier') };
}

export function storageClassFacts(value: unknown): StorageClassFacts {
  const given = objectOf(value);
  const { meta, name } = metadataOf(given, 'StorageClass');
  const isOurs = textAt(given, 'provisioner') === DRIVER;
  return {
    name,
    isOurs,
    isDefault: textAt(objectAt(meta, 'annotations'), IS_DEFAULT) === 'true',
    createdAt: textAt(meta, 'creationTimestamp'),
    waitsForPod: textAt(given, 'volumeBindingMode') === 'WaitForFirstConsumer',
    wish: isOurs ? wishOf(objectAt(given, 'parameters')) : 'it is not a class of NabuStore',
  };
}
