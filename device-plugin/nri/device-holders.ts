import type { Deadline } from '../../common/concurrency/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { nri } from '../../proto/gen/messages.js';
import type { ContainerHolding, PodResources } from '../pod-resources/index.ts';
import { type Hints, hintsOf, isHinted } from './hints.ts';

type Pod = nri.pkg.api.v1alpha1.PodSandbox;
type Container = nri.pkg.api.v1alpha1.Container;

const DOMAIN = 'nabustore.io';
/** Of the time that there is: the rest is for the answer without the kubelet's. */
const SHARE_OF_TIME = 0.7;

/** What a container holds of ours, and who says so; undefined: nothing. */
export type Held = { readonly says: 'kubelet' | 'spec'; readonly what: readonly string[] };

/** Pure. */
function ownDevices({ devices, claims }: ContainerHolding): readonly string[] {
  const plugged = devices.map(({ resource }) => resource).filter((name) => name.startsWith(`${DOMAIN}/`));
  const claimed = claims
    .flatMap((claim) => claim.devices.map(({ driver }) => driver))
    .filter((driver) => driver === DOMAIN || driver.endsWith(`.${DOMAIN}`));
  return [...new Set([...plugged, ...claimed])];
}

/**
 * Whether a container that is being made holds devices of ours. The kubelet's word counts (pod resources API): a pod cannot
 * forge it. It is asked only about containers that something hints at, so that all others cost nothing and need no kubelet.
 *
 * Where the kubelet does not know the container (it does not show init containers) or does not answer in time, the OCI spec
 * has to do: a variable of ours together with a device file or a hugetlbfs that only the kubelet's grant can have put there.
 * The variable alone never counts.
 */
export class DeviceHolders {
  readonly #podResources: Pick<PodResources, 'podOf'>;
  readonly #logger: Logger;

  constructor(podResources: Pick<PodResources, 'podOf'>, logger: Logger) {
    this.#podResources = podResources;
    this.#logger = logger;
  }

  /** Never rejects; answers before the deadline, also where the kubelet does not. */
  async heldBy(pod: Pod, container: Container, deadline: Deadline): Promise<Held | undefined> {
    const hints = hintsOf(container);
    if (!isHinted(hints)) return undefined;
    const shown = await this.#shown(pod, container, deadline);
    if (shown === undefined) return bySpec(hints);
    const what = ownDevices(shown);
    return what.length === 0 ? undefined : { says: 'kubelet', what };
  }

  async #shown(pod: Pod, container: Container, deadline: Deadline): Promise<ContainerHolding | undefined> {
    using inner = deadline.within('asking what the container holds', deadline.remainingMs() * SHARE_OF_TIME);
    try {
      const found = await inner.race(this.#podResources.podOf(pod.namespace, pod.name, inner));
      return found?.containers.find((one) => one.container === container.name);
    } catch (err) {
      const of = { namespace: pod.namespace, pod: pod.name, container: container.name };
      this.#logger.warn('the kubelet does not say what the container holds', { ...of, error: err });
      return undefined;
    }
  }
}

function bySpec({ deviceFiles, hasHugetlbfs, hasVariable }: Hints): Held | undefined {
  if (deviceFiles.length > 0 && hasVariable) return { says: 'spec', what: deviceFiles };
  return hasHugetlbfs ? { says: 'spec', what: ['hugetlbfs'] } : undefined;
}
