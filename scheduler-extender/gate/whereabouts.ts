import type { V1Pod } from '@kubernetes/client-node';
import type { Whereabouts } from './gated-pods.ts';

/**
 * Where a pod is that has no node yet; undefined where it costs its scheduler nothing that we could bound: it waits behind gates of others,
 * is going, does not ask us, or has been judged.
 *
 * Judged (kube-scheduler 1.36, schedule_one.go): refused with reason Unschedulable, or a node is nominated, which the scheduler writes
 * before it waits for volumes and takes back with every error. Reason SchedulerError is no judgement: such a pod comes back by itself,
 * after 1, 2, 4, 8 and then every 10 seconds, and asks the extender each time. Pure.
 */
export function whereabouts({ metadata, spec, status }: V1Pod, gate: string, marker: string): Whereabouts | undefined {
  const gates = spec?.schedulingGates ?? [];
  if (metadata?.deletionTimestamp !== undefined || spec?.nodeName) return undefined;
  if (gates.some(({ name }) => name === gate)) return 'gate';
  const asks = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].some(({ resources }) => {
    return [resources?.requests, resources?.limits].some((amounts) => Object.hasOwn(amounts ?? {}, marker));
  });
  if (gates.length > 0 || !asks || status?.nominatedNodeName) return undefined;
  const isRefused = status?.conditions?.some(
    ({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable',
  );
  return isRefused === true ? undefined : 'scheduler';
}
