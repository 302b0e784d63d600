import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import {
  type ContainerGrant,
  type DeviceId,
  type DevicePool,
  deviceId,
  type PooledDevice,
  type PoolOptions,
  type ResourceName,
  resourceName,
  type Unsubscribe,
} from '../../device-plugin/kubelet/index.ts';

/** A pool of devices that exist nowhere, for tests of what stands before one. */
export class MemoryPool implements DevicePool {
  readonly resource: ResourceName;
  readonly options: PoolOptions;
  readonly #devices = new Map<DeviceId, PooledDevice>();
  readonly #listeners = new Set<() => void>();
  /** How often `devices` was called. */
  reads = 0;
  readonly prepared: (readonly DeviceId[])[] = [];

  constructor(resource: string, count: number, options: Partial<PoolOptions> = {}) {
    this.resource = resourceName(resource);
    this.options = { preStartRequired: false, getPreferredAllocationAvailable: true, ...options };
    for (let at = 0; at < count; at++) this.#put(deviceId(`dev-${at}`), true, at % 2);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** 'id' of each healthy device, in order; '!id' of each unhealthy one after them. */
  get expected(): string[] {
    const marked = [...this.#devices.values()].map(({ id, healthy }) => (healthy ? id : `!${id}`));
    return marked.sort();
  }

  devices(): readonly PooledDevice[] {
    this.reads++;
    return [...this.#devices.values()];
  }

  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setHealthy(id: string, healthy: boolean): void {
    const device = this.#devices.get(deviceId(id));
    if (device === undefined) throw new RangeError(`no device ${id}`);
    this.#devices.set(device.id, { ...device, healthy });
    this.#tell();
  }

  add(id: string, numaNode = 0): void {
    this.#put(deviceId(id), true, numaNode);
    this.#tell();
  }

  remove(id: string): void {
    this.#devices.delete(deviceId(id));
    this.#tell();
  }

  prefer(available: readonly DeviceId[], mustInclude: readonly DeviceId[], size: number): readonly DeviceId[] {
    const others = available.filter((id) => !mustInclude.includes(id));
    return [...mustInclude, ...others].slice(0, size);
  }

  allocate(ids: readonly DeviceId[], _deadline: Deadline): ContainerGrant {
    for (const id of ids) {
      if (id.startsWith('refused')) throw NabuError.of('DEVICE_UNHEALTHY', { resource: this.resource, id });
    }
    return {
      devices: ids.map((id) => ({ containerPath: `/dev/${id}`, hostPath: `/host/dev/${id}`, permissions: 'rw' })),
      mounts: [{ containerPath: '/etc/cufile', hostPath: `/run/${ids[0]}`, readOnly: true }],
      environment: { NABU_DEVICES: ids.join(',') },
      annotations: { 'nabustore.io/devices': String(ids.length) },
      cdiDevices: ids.map((id) => `nabustore.io/rdma=${id}`),
    };
  }

  async prepare(ids: readonly DeviceId[], _deadline: Deadline): Promise<void> {
    this.prepared.push(ids);
  }

  #put(id: DeviceId, healthy: boolean, numaNode: number): void {
    this.#devices.set(id, { id, healthy, numaNodes: [numaNode] });
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
