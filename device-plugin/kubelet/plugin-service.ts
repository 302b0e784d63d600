import { NabuError } from '../../common/errors/index.ts';
import type { Handlers, MessageInit } from '../../common/grpc/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { services } from '../../proto/gen/kubelet.js';
import type { v1beta1 } from '../../proto/gen/messages.js';
import type { DeviceList } from './device-list.ts';
import type { ContainerGrant, DeviceId, DevicePool } from './device-pool.ts';
import type { Newest } from './newest.ts';
import type { CallOutcome, KubeletObserver } from './observer.ts';
import { type Preference, parseAllocate, parsePreferences, parsePreStart } from './requests.ts';

export type ServedPool = {
  readonly pool: DevicePool;
  readonly list: Newest<DeviceList>;
  /** Called when a ListAndWatch begins; what it returns, when that one ends. */
  readonly onStream: () => () => void;
  readonly clock: Clock;
  readonly observer: KubeletObserver;
};

function toResponse(grant: ContainerGrant): MessageInit<v1beta1.ContainerAllocateResponse> {
  return {
    envs: grant.environment,
    mounts: grant.mounts,
    devices: grant.devices,
    annotations: grant.annotations,
    cdiDevices: grant.cdiDevices.map((name) => ({ name })),
  };
}

/**
 * `available` is what the kubelet has from some earlier list: a unit that has gone or turned unhealthy since is only left
 * out, because a refusal here would fail a pod that does not need it. What must be included has no such choice.
 */
function choose(pool: DevicePool, list: DeviceList, wanted: Preference): readonly DeviceId[] {
  const { mustInclude, size } = wanted;
  list.requireHealthy(mustInclude);
  const available = wanted.available.filter((id) => list.isHealthy(id));
  if (available.length < size) {
    const reason = `${size} are wanted, ${available.length} of the ${wanted.available.length} offered are healthy`;
    throw NabuError.of('RESOURCE_EXHAUSTED', { resource: pool.resource, reason });
  }
  const chosen = pool.prefer(available, mustInclude, size);
  const offered = new Set(available);
  const distinct = new Set(chosen.filter((id) => offered.has(id)));
  if (chosen.length !== size || distinct.size !== size || !mustInclude.every((id) => distinct.has(id))) {
    throw new RangeError(`the pool of ${pool.resource} prefers ${chosen.length} ids that do not answer the request`);
  }
  return chosen;
}

/**
 * Device plugin API v1beta1 for one resource. Statuses: INVALID_ARGUMENT for what no request may say, NOT_FOUND for an id
 * that is not ours, FAILED_PRECONDITION for one that is unhealthy, RESOURCE_EXHAUSTED where too few are left,
 * UNIMPLEMENTED for a call that GetDevicePluginOptions does not offer.
 */
export function pluginHandlers(served: ServedPool): Handlers<(typeof services)['v1beta1.DevicePlugin']> {
  const { pool, list, clock, observer } = served;
  return {
    getDevicePluginOptions: async () => pool.options,

    listAndWatch: async function* (_request, { signal }) {
      const ended = served.onStream();
      try {
        for await (const { message } of list.follow(signal)) yield message;
      } finally {
        ended();
      }
    },

    getPreferredAllocation: async (request) => {
      if (!pool.options.getPreferredAllocationAvailable) {
        const reason = `${pool.resource} has no preference`;
        throw NabuError.of('UNIMPLEMENTED', { operation: 'GetPreferredAllocation', reason });
      }
      const choices = parsePreferences(request).map((wanted) => choose(pool, list.value, wanted));
      return { containerResponses: choices.map((deviceIDs) => ({ deviceIDs })) };
    },

    // All containers or none: an error in one is the answer to the whole.
    allocate: async (request, { deadline }) => {
      const startedMs = clock.monotonicMs();
      let outcome: CallOutcome = 'refused';
      try {
        const containers = parseAllocate(request);
        for (const ids of containers) list.value.requireHealthy(ids);
        const containerResponses: MessageInit<v1beta1.ContainerAllocateResponse>[] = [];
        for (const ids of containers) {
          deadline.throwIfExpired();
          containerResponses.push(toResponse(await pool.allocate(ids, deadline)));
        }
        outcome = 'ok';
        return { containerResponses };
      } finally {
        observer.allocated(pool.resource, clock.monotonicMs() - startedMs, outcome);
      }
    },

    preStartContainer: async (request, { deadline }) => {
      if (!pool.options.preStartRequired || pool.prepare === undefined) {
        const reason = `${pool.resource} needs none`;
        throw NabuError.of('UNIMPLEMENTED', { operation: 'PreStartContainer', reason });
      }
      const ids = parsePreStart(request);
      list.value.requireHealthy(ids);
      await deadline.race(pool.prepare(ids, deadline));
      return {};
    },
  };
}
