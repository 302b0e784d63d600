import { type DeviceClassFacts, isImplicitDeviceResource } from '../kube/index.ts';

/** Which extended resources a scheduler may hand out as devices of a class. */
export class DeviceClassTable {
  readonly #resources = new Map<string, string>();
  /** How many classes say so. */
  readonly #mapped = new Map<string, number>();

  get count(): number {
    return this.#resources.size;
  }

  put({ name, extendedResource }: DeviceClassFacts): void {
    this.remove(name);
    this.#resources.set(name, extendedResource);
    this.#mapped.set(extendedResource, (this.#mapped.get(extendedResource) ?? 0) + 1);
  }

  remove(name: string): void {
    const resource = this.#resources.get(name);
    if (resource === undefined) return;
    this.#resources.delete(name);
    const left = (this.#mapped.get(resource) ?? 0) - 1;
    if (left > 0) this.#mapped.set(resource, left);
    else this.#mapped.delete(resource);
  }

  isMapped(resource: string): boolean {
    return isImplicitDeviceResource(resource) || (resource !== '' && this.#mapped.has(resource));
  }
}
