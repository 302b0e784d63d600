import type { StorageV1Api } from '@kubernetes/client-node';
import { raceAbort } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { kubeConfigOf, objectName } from '../kube-access/index.ts';
import type { WakeCall } from './waker.ts';

type ClientLibrary = typeof import('@kubernetes/client-node');

const RELEASED_AT = 'nabustore.io/capacity-released-at';
const FIELD_MANAGER = 'nabu-scheduler-extender';
/** There is none of that name, so that what says nothing of capacity says it of nothing. */
const NO_CLASS = 'wake.nabustore.io';

/**
 * A CSIStorageCapacity of our own that publishes nothing and can be reached from nowhere. kube-scheduler asks again about every pod that an
 * extender refused when any of them changes, its annotations too (v1.36, framework/runtime, defaultEnqueueExtension; eventhandlers.go);
 * pods that the volume binder refused stay where they are, because no limit rises (volume_binding, isSchedulableAfterCSIStorageCapacityChange).
 */
export class KubeWakeCall implements WakeCall {
  readonly #library: ClientLibrary;
  readonly #api: StorageV1Api;
  readonly #namespace: string;
  readonly #name: string;
  readonly #clock: Clock;

  private constructor(library: ClientLibrary, api: StorageV1Api, namespace: string, name: string, clock: Clock) {
    this.#library = library;
    this.#api = api;
    this.#namespace = namespace;
    this.#name = name;
    this.#clock = clock;
  }

  /** `path`: '' as the pod that this process runs in. `object`: NAMESPACE/NAME. Throws CONFIG_INVALID. */
  static async open(path: string, object: string, clock: Clock): Promise<KubeWakeCall> {
    const { namespace, name } = objectName('wake', object);
    const library = await import('@kubernetes/client-node');
    const config = kubeConfigOf(library, path);
    return new KubeWakeCall(library, config.makeApiClient(library.StorageV1Api), namespace, name, clock);
  }

  /** By server-side apply: the object is made where there is none. Throws UNAVAILABLE, PERMISSION_DENIED, CANCELLED, TIMEOUT. */
  async wake(signal: AbortSignal): Promise<void> {
    const { setHeaderOptions, PatchStrategy } = this.#library;
    const [namespace, name] = [this.#namespace, this.#name];
    const body = {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIStorageCapacity',
      metadata: { namespace, name, annotations: { [RELEASED_AT]: new Date(this.#clock.nowMs()).toISOString() } },
      storageClassName: NO_CLASS,
    };
    const how = { fieldManager: FIELD_MANAGER, force: true } as const;
    const type = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply);
    const operation = `changing CSIStorageCapacity ${namespace}/${name}`;
    try {
      const call = this.#api.patchNamespacedCSIStorageCapacity({ namespace, name, body, ...how }, type);
      await raceAbort(call, signal, operation);
    } catch (err) {
      if (NabuError.is(err)) throw err;
      const code: unknown = Reflect.get(Object(err), 'code');
      const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
      if (code === 401 || code === 403) throw NabuError.of('PERMISSION_DENIED', { operation, reason }, { cause: err });
      throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
    }
  }
}
