import { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { KubeClient, WatchEvent } from '../kube-api/index.ts';
import { ATTRIBUTES, DRIVER_NAME, SLOTS, UNHEALTHY } from './driver-name.ts';
import { RESOURCE_API_PATH, RESOURCE_API_VERSION, type ResourceSliceSpec } from './resource-api.ts';
import type { ServerFeatures } from './resource-slices.ts';
import { sliceName } from './slice-plan.ts';
import {
  droppedFeatures,
  parseSlice,
  parseSlices,
  type StoredSlice,
  type StoredSlices,
  withTimes,
} from './stored-slice.ts';

export type SliceApiOptions = {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly clock: Clock;
  /** For each call. */
  readonly callMs: number;
  /** Ends all calls. */
  readonly signal: AbortSignal;
};

const SLICES = `${RESOURCE_API_PATH}/resourceslices`;
/** metadata.name is at most so long. */
const NAME_CHARS = 253;

/** Has all that some API server drops. */
const PROBE = {
  name: 'probe',
  attributes: { [ATTRIBUTES.kind]: { string: 'probe' } },
  allowMultipleAllocations: true,
  capacity: { [SLOTS]: { value: '2', requestPolicy: { default: '1', validRange: { min: '1', step: '1' } } } },
  taints: [{ key: UNHEALTHY, value: 'probe', effect: 'NoSchedule' }],
} as const;

/** The ResourceSlices of our driver on one node, in the API server. Every call throws what KubeClient's does. */
export class SliceApi {
  readonly #options: SliceApiOptions;

  constructor(options: SliceApiOptions) {
    this.#options = options;
  }

  async list(): Promise<StoredSlices> {
    return parseSlices(await this.#call({ method: 'GET', path: SLICES, query: { fieldSelector: this.#selector } }));
  }

  /** What happens to them from a version on. */
  watch(resourceVersion: string, signal: AbortSignal): AsyncIterable<WatchEvent> {
    return this.#options.client.watch(SLICES, { fieldSelector: this.#selector, resourceVersion }, signal);
  }

  async create(name: string, spec: ResourceSliceSpec): Promise<StoredSlice> {
    return await this.#create(name, spec, {});
  }

  /** What the server would not keep, by a creation that is only tried (dryRun). */
  async dropped(): Promise<ServerFeatures> {
    const { nodeName } = this.#options;
    const pool = { name: nodeName, generation: 1, resourceSliceCount: 1 };
    const spec: ResourceSliceSpec = { driver: DRIVER_NAME, nodeName, pool, devices: [PROBE] };
    const name = `probe-${sliceName(nodeName, 0)}`.slice(0, NAME_CHARS).replace(/[.-]+$/, '');
    return droppedFeatures(await this.#create(name, spec, { dryRun: 'All' }), spec);
  }

  /** Throws RESOURCE_CONFLICT when it is not any more as it was read. */
  async update(stored: StoredSlice, spec: ResourceSliceSpec): Promise<StoredSlice> {
    const path = `${SLICES}/${stored.metadata.name}`;
    const body = { ...stored, spec: { ...spec, devices: withTimes(stored, spec.devices) } };
    return parseSlice(await this.#call({ method: 'PUT', path, body }));
  }

  /** Does nothing when it is gone; throws RESOURCE_CONFLICT when it is not any more as it was read. */
  async delete({ metadata: { name, uid, resourceVersion } }: StoredSlice): Promise<void> {
    const body = { preconditions: { uid, resourceVersion } };
    try {
      await this.#call({ method: 'DELETE', path: `${SLICES}/${name}`, body });
    } catch (err) {
      if (!NabuError.is(err, 'KUBE_NOT_FOUND')) throw err;
    }
  }

  get #selector(): string {
    return `spec.nodeName=${this.#options.nodeName},spec.driver=${DRIVER_NAME}`;
  }

  async #create(name: string, spec: ResourceSliceSpec, query: Readonly<Record<string, string>>): Promise<StoredSlice> {
    const owner = {
      apiVersion: 'v1',
      kind: 'Node',
      name: this.#options.nodeName,
      uid: await this.#ownerUid(),
      controller: true,
    };
    const body = {
      apiVersion: RESOURCE_API_VERSION,
      kind: 'ResourceSlice',
      metadata: { name, ownerReferences: [owner] },
      spec,
    };
    return parseSlice(await this.#call({ method: 'POST', path: SLICES, query, body }));
  }

  /**
   * The slices go with their node. Not kept: a node of the same name that is made anew is another one. Throws KUBE_NOT_FOUND
   * before the kubelet has registered it.
   */
  async #ownerUid(): Promise<string> {
    const path = `/api/v1/nodes/${encodeURIComponent(this.#options.nodeName)}`;
    const node = await this.#call({ method: 'GET', path });
    const uid: unknown = Reflect.get(Object(Reflect.get(Object(node), 'metadata')), 'uid');
    if (typeof uid === 'string') return uid;
    throw NabuError.of('PROTOCOL_ERROR', { peer: 'the API server', reason: 'a node without uid' });
  }

  async #call(request: Omit<Parameters<KubeClient['call']>[0], 'deadline'>): Promise<unknown> {
    const { client, clock, callMs: timeoutMs, signal: parent } = this.#options;
    using deadline = new Deadline({ clock, operation: `${request.method} ${request.path}`, timeoutMs, parent });
    return await client.call({ ...request, deadline });
  }
}
