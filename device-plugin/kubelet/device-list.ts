import { NabuError } from '../../common/errors/index.ts';
import { encodeMessage, type MessageInit } from '../../common/grpc/index.ts';
import { services } from '../../proto/gen/kubelet.js';
import type { v1beta1 } from '../../proto/gen/messages.js';
import { type DeviceId, type DevicePool, deviceId, type PooledDevice } from './device-pool.ts';
import type { ResourceName } from './resource-name.ts';

/** Device plugin API v1beta1, constants.go: Healthy and Unhealthy. */
const HEALTHY = 'Healthy';
const UNHEALTHY = 'Unhealthy';

function toMessage({ id, healthy, numaNodes }: PooledDevice): MessageInit<v1beta1.Device> {
  return {
    ID: id,
    health: healthy ? HEALTHY : UNHEALTHY,
    // Where the machine does not say, neither do we: the kubelet then leaves such a device out of its alignment.
    ...(numaNodes.length === 0 ? {} : { topology: { nodes: numaNodes.map((ID) => ({ ID })) } }),
  };
}

function checkNodes({ id, numaNodes }: PooledDevice): void {
  if (numaNodes.every((node) => Number.isSafeInteger(node) && node >= 0)) return;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'numaNodes', reason: `${numaNodes} of device ${id} are no nodes` });
}

/** What a pool held at one moment, as the message that says so and as answers to questions about ids. */
export class DeviceList {
  readonly message: MessageInit<v1beta1.ListAndWatchResponse>;
  readonly #resource: ResourceName;
  readonly #devices = new Map<string, PooledDevice>();
  readonly #bytes: Buffer;

  private constructor(resource: ResourceName, devices: readonly PooledDevice[]) {
    this.#resource = resource;
    for (const device of devices) {
      deviceId(device.id);
      checkNodes(device);
      this.#devices.set(device.id, device);
    }
    if (this.#devices.size < devices.length) {
      const reason = `${devices.length - this.#devices.size} ids are there more than once`;
      throw NabuError.of('INVALID_ARGUMENT', { field: `devices of ${resource}`, reason });
    }
    this.message = { devices: devices.map(toMessage) };
    this.#bytes = encodeMessage(services['v1beta1.DevicePlugin'].listAndWatch.response, this.message);
  }

  /**
   * Throws INVALID_ARGUMENT when the pool breaks its promises, MESSAGE_TOO_LARGE when its list is longer than a client
   * takes in one message.
   */
  static of(pool: Pick<DevicePool, 'resource' | 'devices'>, limitBytes: number): DeviceList {
    const list = new DeviceList(pool.resource, pool.devices());
    const sizeBytes = list.#bytes.length;
    if (sizeBytes > limitBytes) throw NabuError.of('MESSAGE_TOO_LARGE', { sizeBytes, limitBytes });
    return list;
  }

  get size(): number {
    return this.#devices.size;
  }

  /** Whether both say the same, in the same order. */
  equals(other: DeviceList): boolean {
    return this.#bytes.equals(other.#bytes);
  }

  isHealthy(id: DeviceId): boolean {
    return this.#devices.get(id)?.healthy === true;
  }

  /** Throws DEVICE_NOT_FOUND or DEVICE_UNHEALTHY for the first id that cannot be given to a container now. */
  requireHealthy(ids: readonly DeviceId[]): void {
    for (const id of ids) {
      const device = this.#devices.get(id);
      if (device === undefined) throw NabuError.of('DEVICE_NOT_FOUND', { resource: this.#resource, id });
      if (!device.healthy) throw NabuError.of('DEVICE_UNHEALTHY', { resource: this.#resource, id });
    }
  }
}
