import type { Deadline } from '../../common/concurrency/index.ts';
import { decodeMessage, encodeMessage, type MessageInit } from '../../common/grpc/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { nri } from '../../proto/gen/messages.js';
import { services } from '../../proto/gen/nri.js';
import type { TtrpcHandler } from './ttrpc-server.ts';

type Api = typeof import('../../proto/gen/nri.js').services;
type Container = nri.pkg.api.v1alpha1.Container;
type CreateContainerRequest = nri.pkg.api.v1alpha1.CreateContainerRequest;
export type Adjustment = MessageInit<nri.pkg.api.v1alpha1.ContainerAdjustment>;

/** What a plugin of ours decides. */
export type NriHandler = {
  /** What is changed of a container that is being made; undefined: nothing. May throw, and may take until the deadline. */
  createContainer(request: CreateContainerRequest, deadline: Deadline): Promise<Adjustment | undefined>;
  /** The containers that are there. In several parts where they are many. */
  synchronize(containers: readonly Container[]): void;
};

export type RuntimeVersion = { readonly name: string; readonly version: string };

const PLUGIN: Api['nri.pkg.api.v1alpha1.Plugin'] = services['nri.pkg.api.v1alpha1.Plugin'];
/** Event.CREATE_CONTAINER is 4, and bit 3 of the mask (nri, pkg/api, EventMask.Set). */
const CREATE_CONTAINER_EVENTS = 1 << 3;
/** NRI asks all plugins for one container after the other: what one takes, every new container on the node waits for. */
const MOST_TIME_MS = 1000;
/** Of what the runtime allows: the rest is for the way there and back. */
const SHARE_OF_TIME = 0.5;

const EMPTY = Buffer.alloc(0);

/**
 * Everything that a runtime may ask of a plugin. Nothing that goes wrong with a container reaches the runtime: NRI takes an
 * error as a refusal of the container, so the answer is that nothing is to be changed, and the log has the error.
 */
export function pluginHandlers(
  handler: NriHandler,
  logger: Logger,
  onConfigured: (runtime: RuntimeVersion) => void,
): ReadonlyMap<string, TtrpcHandler> {
  const nothing: TtrpcHandler = () => EMPTY;

  const configure: TtrpcHandler = (payload) => {
    const request = decodeMessage(PLUGIN.configure.request, payload) as nri.pkg.api.v1alpha1.ConfigureRequest;
    onConfigured({ name: request.runtimeName, version: request.runtimeVersion });
    return encodeMessage(PLUGIN.configure.response, { events: CREATE_CONTAINER_EVENTS });
  };

  const synchronize: TtrpcHandler = (payload) => {
    const request = decodeMessage(PLUGIN.synchronize.request, payload) as nri.pkg.api.v1alpha1.SynchronizeRequest;
    try {
      handler.synchronize(request.containers);
    } catch (err) {
      logger.error('what is there already could not be looked at', { error: err });
    }
    return encodeMessage(PLUGIN.synchronize.response, { more: request.more });
  };

  const createContainer: TtrpcHandler = async (payload, deadline) => {
    try {
      const request = decodeMessage(PLUGIN.createContainer.request, payload) as CreateContainerRequest;
      const timeoutMs = Math.min(MOST_TIME_MS, deadline.remainingMs() * SHARE_OF_TIME);
      using inner = deadline.within('deciding about a container', timeoutMs);
      const adjust = await inner.race(handler.createContainer(request, inner));
      return adjust === undefined ? EMPTY : encodeMessage(PLUGIN.createContainer.response, { adjust });
    } catch (err) {
      logger.error('a container is made as it was asked for: nothing is changed', { error: err });
      return EMPTY;
    }
  };

  return new Map<string, TtrpcHandler>([
    ...Object.values(PLUGIN).map(({ path }): [string, TtrpcHandler] => [path, nothing]),
    [PLUGIN.configure.path, configure],
    [PLUGIN.synchronize.path, synchronize],
    [PLUGIN.createContainer.path, createContainer],
  ]);
}
