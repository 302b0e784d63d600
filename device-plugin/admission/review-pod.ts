import type { AddOperation, PodReview } from '../../common/admission/index.ts';
import { contradictionOf, cufileResourcesOf } from './contradictions.ts';
import { type HugetlbfsUnit, pagesPatch } from './huge-pages.ts';
import { podContradictionOf } from './pod-contradictions.ts';
import { type ContainerView, namesAskedFor, type PodView } from './pod-view.ts';

const OURS = 'nabustore.io/';
/** Whatever gives out a GPU names it so: nvidia.com/gpu, nvidia.com/mig-1g.10gb, gpu.example.com/h200. */
const GPU = /gpu|nvidia|mig-/i;

const asksForOurs = ({ resources }: ContainerView): boolean =>
  namesAskedFor(resources).some((name) => name.startsWith(OURS));

/** What may be meant and seldom is. The API server shows at most 256 characters of each. */
function warningsOf(container: ContainerView, isGivenPages: boolean): readonly string[] {
  const { name, resources, securityContext } = container;
  const names = namesAskedFor(resources);
  const warnings: string[] = [];
  const [cufile] = cufileResourcesOf(container);
  const hasGpu = names.some((one) => GPU.test(one)) || (resources?.claims ?? []).length > 0;
  if (cufile !== undefined && !hasGpu) warnings.push(`container ${name}: ${cufile} is of use only beside a GPU`);
  if (securityContext?.privileged === true) {
    warnings.push(
      `container ${name}: it is privileged and sees all devices of the node; nabustore.io resources need no privilege`,
    );
  }
  if (isGivenPages && !names.includes('cpu') && !names.includes('memory')) {
    warnings.push(`container ${name}: it gets huge pages, for which Kubernetes wants a request for cpu or memory too`);
  }
  return warnings;
}

/**
 * What becomes of a pod that is to be made: the huge pages that its mounts of hugetlbfs need are added, or it is refused with
 * a sentence. Idempotent: what comes out goes through again without a change, so that other webhooks may come in between.
 * A pod that asks for nothing of ours is never touched. Pure.
 */
export function reviewPod(pod: PodView, units: readonly HugetlbfsUnit[]): PodReview {
  const patch: AddOperation[] = [];
  const warnings: string[] = [];
  for (const list of ['initContainers', 'containers'] as const) {
    for (const [at, container] of (pod.spec[list] ?? []).entries()) {
      if (!asksForOurs(container)) continue;
      const contradiction = contradictionOf(container, units, pod);
      if (contradiction !== undefined)
        return { isAllowed: false, reason: `container ${container.name} ${contradiction}` };
      const added = pagesPatch(pod, list, at, container, units);
      patch.push(...added);
      warnings.push(...warningsOf(container, added.length > 0));
    }
  }
  const reason = podContradictionOf(pod, units);
  return reason === undefined ? { isAllowed: true, patch, warnings } : { isAllowed: false, reason };
}
