import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError, toNabuError } from '../../common/errors/index.ts';
import type { Handlers, MessageInit } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { services } from '../../proto/gen/kubelet.js';
import type { v1alpha1 } from '../../proto/gen/messages.js';
import type { ClaimId } from './allocated-claim.ts';
import type { ClaimPreparer, PreparedDevice } from './claim-preparer.ts';
import { DRIVER_NAME } from './driver-name.ts';

/** Plugin registration v1 (k8s.io/kubelet/pkg/apis/pluginregistration/v1, constants.go). */
const PLUGIN_TYPE = 'DRAPlugin';
/** Since Kubernetes 1.34 the kubelet knows both; older ones have resource.k8s.io/v1 no more than these. */
const SERVICES = ['v1.DRAPlugin', 'v1alpha1.DRAResourceHealth'];

type Registration = Handlers<(typeof services)['pluginregistration.Registration']>;
type Plugin = Handlers<(typeof services)['k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin']>;
type Health = Handlers<(typeof services)['v1alpha1.DRAResourceHealth']>;

/** `onStatus` hears what became of each registration: undefined, or why it failed. */
export function registrationHandlers(endpoint: string, onStatus: (error: string | undefined) => void): Registration {
  return {
    getInfo: async () => ({ type: PLUGIN_TYPE, name: DRIVER_NAME, endpoint, supportedVersions: SERVICES }),
    notifyRegistrationStatus: async ({ pluginRegistered, error }) => {
      onStatus(pluginRegistered ? undefined : error || 'the kubelet does not say why');
      return {};
    },
  };
}

/** A subrequest, 'a/b', counts as its request: what the kubelet looks for (kubeletplugin, stripSubrequestNames). */
function toMessage({ request, pool, name, cdiName, shareId }: PreparedDevice) {
  return {
    requestNames: [request.split('/')[0] ?? request],
    poolName: pool,
    deviceName: name,
    cdiDeviceIds: [cdiName],
    ...(shareId === undefined ? {} : { shareId }),
  };
}

/**
 * DRA v1 for the kubelet. The answer has one entry for each claim: what is wrong with one is told there and does not keep the
 * others from being prepared.
 */
export function pluginHandlers(preparer: ClaimPreparer, logger: Logger): Plugin {
  async function errorOf(claim: ClaimId, operation: string, work: () => Promise<void>): Promise<string> {
    try {
      await work();
      return '';
    } catch (err) {
      const known = toNabuError(err, (correlationId, error) =>
        logger.error(`${operation} failed`, { correlationId, error }),
      );
      logger.warn(`${operation} is refused`, { claim: `${claim.namespace}/${claim.name}`, uid: claim.uid, error: err });
      return `${known.code}: ${known.message}`;
    }
  }

  async function each<T>(
    claims: readonly ClaimId[],
    deadline: Deadline,
    of: (claim: ClaimId) => Promise<T>,
  ): Promise<Record<string, T>> {
    const answers: Record<string, T> = {};
    for (const claim of claims) {
      if (claim.uid === '') throw NabuError.of('INVALID_ARGUMENT', { field: 'claims.uid', reason: 'it is empty' });
      deadline.throwIfExpired();
      answers[claim.uid] = await of(claim);
    }
    return answers;
  }

  return {
    nodePrepareResources: async ({ claims }, { deadline }) => ({
      claims: await each(claims, deadline, async (claim) => {
        let devices: readonly PreparedDevice[] = [];
        const error = await errorOf(claim, 'preparing a claim', async () => {
          devices = await preparer.prepare(claim, deadline);
        });
        return { devices: devices.map(toMessage), error };
      }),
    }),

    nodeUnprepareResources: async ({ claims }, { deadline }) => ({
      claims: await each(claims, deadline, async (claim) => ({
        error: await errorOf(claim, 'ending a claim', () => preparer.unprepare(claim, deadline)),
      })),
    }),
  };
}

export type HealthMessage = MessageInit<v1alpha1.NodeWatchResourcesResponse>;

/** Each message is the health of all devices: whoever is slow gets the newest. */
export function healthHandlers(follow: (signal: AbortSignal) => AsyncIterable<HealthMessage>): Health {
  return {
    nodeWatchResources: async function* (_request, { signal }) {
      yield* follow(signal);
    },
  };
}
