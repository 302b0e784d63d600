import { type AddOperation, pointer } from '../../common/admission/index.ts';
import { MARKER_RESOURCE } from '../kube/index.ts';
import type { NewPod } from './new-pod.ts';

/** Pods wait behind it until `nabu scheduler-admission` lets them to the scheduler. */
export const GATE = 'nabustore.io/extender';

/**
 * The extended resource by which the scheduler knows whom to ask us about, as request and limit (they have to be equal) of the first
 * container, unless a container has it already. Pure.
 */
export function markerPatch({ spec: { containers } }: NewPod): readonly AddOperation[] {
  const found = containers.findIndex(({ resources }) => {
    return [resources?.limits, resources?.requests].some((amounts) => Object.hasOwn(amounts ?? {}, MARKER_RESOURCE));
  });
  const at = Math.max(found, 0);
  const resources = containers[at]?.resources;
  const own = (amounts: Readonly<Record<string, string | number>> | null | undefined): string | number | undefined =>
    Object.hasOwn(amounts ?? {}, MARKER_RESOURCE) ? amounts?.[MARKER_RESOURCE] : undefined;
  const units = own(resources?.limits) ?? own(resources?.requests) ?? '1';
  const path = ['spec', 'containers', at, 'resources'] as const;
  if (resources == null) {
    const both = { limits: { [MARKER_RESOURCE]: units }, requests: { [MARKER_RESOURCE]: units } };
    return [{ op: 'add', path: pointer(...path), value: both }];
  }
  return (['limits', 'requests'] as const).flatMap((list): AddOperation[] => {
    const amounts = resources[list];
    if (own(amounts) !== undefined) return [];
    if (amounts == null) return [{ op: 'add', path: pointer(...path, list), value: { [MARKER_RESOURCE]: units } }];
    return [{ op: 'add', path: pointer(...path, list, MARKER_RESOURCE), value: units }];
  });
}

/** Pure. */
export function gatePatch({ spec: { schedulingGates } }: NewPod): readonly AddOperation[] {
  if (schedulingGates?.some(({ name }) => name === GATE) === true) return [];
  const path = pointer('spec', 'schedulingGates');
  if (schedulingGates == null) return [{ op: 'add', path, value: [{ name: GATE }] }];
  return [{ op: 'add', path: `${path}/-`, value: { name: GATE } }];
}
