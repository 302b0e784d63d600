import {
  HUGE_PAGES,
  HUGETLBFS,
  type HugetlbfsUnit,
  mountingsOf,
  pageSizesOf,
  podPages,
  unitsOf,
} from './huge-pages.ts';
import { type ContainerView, namesAskedFor, type PodView } from './pod-view.ts';
import { quantityText } from './quantity.ts';

/** core/v1, StorageMediumHugePages: pages of the one size that the pod uses. */
const ANY_SIZE = 'HugePages';

/** An init container that runs on beside the others (Kubernetes, "Sidecar Containers"). */
const isSidecar = ({ restartPolicy }: ContainerView): boolean => restartPolicy === 'Always';

function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

/**
 * The most that is in use at one time: the containers and the sidecars, or an init container and the sidecars before it
 * (component-helpers, resource.AggregateContainerRequests).
 */
function mostAtOnce({ spec }: PodView, of: (container: ContainerView) => bigint): bigint {
  let sidecars = 0n;
  let most = 0n;
  for (const container of spec.initContainers ?? []) {
    if (isSidecar(container)) sidecars += of(container);
    const now = isSidecar(container) ? sidecars : sidecars + of(container);
    most = larger(now, most);
  }
  const running = spec.containers.reduce((sum, container) => sum + of(container), sidecars);
  return larger(running, most);
}

function podHasFewerPages(pod: PodView, units: readonly HugetlbfsUnit[]): string | undefined {
  for (const unit of units) {
    const pages = podPages(pod, unit.pageSize);
    const bytesOf = (container: ContainerView): bigint =>
      mountingsOf(container, [unit]).reduce((sum, { bytes }) => sum + bytes, 0n);
    if (pages === undefined || mostAtOnce(pod, bytesOf) === 0n) continue;
    const name = HUGE_PAGES + unit.pageSize;
    // A container's own pages count even where its mounts hold less of them.
    const needed = mostAtOnce(pod, (container) => {
      return larger(unitsOf(container, name), bytesOf(container));
    });
    if (pages >= needed) continue;
    return (
      `the pod as a whole asks for ${name}: ${quantityText(pages)}, and its containers need ${quantityText(needed)} ` +
      `with what their ${HUGETLBFS}${unit.pageSize} holds. Ask for ${name} in each of these containers, or for more in the pod`
    );
  }
  return undefined;
}

/** The kubelet cannot mount such a volume, and says so only on the node (kubelet, volume/emptydir, getPageSizeMountOption). */
function volumeOfAnySize(pod: PodView, units: readonly HugetlbfsUnit[]): string | undefined {
  const { volumes, containers, initContainers } = pod.spec;
  const volume = (volumes ?? []).find(({ emptyDir }) => emptyDir?.medium === ANY_SIZE);
  const all = [...(initContainers ?? []), ...containers];
  if (volume === undefined || all.every((container) => mountingsOf(container, units).length === 0)) return undefined;
  const sizes = [...new Set(all.flatMap((container) => pageSizesOf(container, units)))];
  if (sizes.length < 2) return undefined;
  const media = sizes.map((size) => `${ANY_SIZE}-${size}`).join(' or ');
  return `the volume ${volume.name} has the medium ${ANY_SIZE}, and the pod uses pages of ${sizes.join(' and ')}. Name the medium: ${media}`;
}

/** The API server takes no resources for these; this says it of ours. */
function ephemeral({ spec }: PodView): string | undefined {
  for (const { name, resources } of spec.ephemeralContainers ?? []) {
    const resource = namesAskedFor(resources).find((one) => one.startsWith('nabustore.io/'));
    if (resource !== undefined)
      return `ephemeral container ${name} asks for ${resource}: such containers get no resources`;
  }
  return undefined;
}

/** What the containers of a pod ask for together that cannot be meant: a sentence, or undefined. Pure. */
export function podContradictionOf(pod: PodView, units: readonly HugetlbfsUnit[]): string | undefined {
  return ephemeral(pod) ?? podHasFewerPages(pod, units) ?? volumeOfAnySize(pod, units);
}
