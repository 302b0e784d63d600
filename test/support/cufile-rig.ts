import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deadline } from '../../common/concurrency/index.ts';
import type { NabuError } from '../../common/errors/index.ts';
import { type Logger, silentLogger } from '../../common/logging/index.ts';
import { type Clock, realClock } from '../../common/ports/index.ts';
import { type ResourceConfig, resourceConfigSchema } from '../../device-plugin/config/index.ts';
import { discover, type Inventory } from '../../device-plugin/discovery/index.ts';
import type { ContainerHolding, PodHolding } from '../../device-plugin/pod-resources/index.ts';
import {
  type CufileParts,
  cufileKind,
  DeviceCheck,
  gdsKind,
  type HostPaths,
  type ResourceKind,
  type Unit,
} from '../../device-plugin/resources/index.ts';
import type { MachineDescription } from './machine-description.ts';
import { isMarker, MachineTree } from './machine-tree.ts';

/** What a container holds, in short: ids by resource. */
export function holding(
  devices: Readonly<Record<string, readonly string[]>>,
  rest: Partial<ContainerHolding> & { readonly numaNodes?: readonly number[] } = {},
): ContainerHolding {
  const { numaNodes = [], ...given } = rest;
  return {
    namespace: 'ml',
    pod: 'train-0',
    container: 'main',
    devices: Object.entries(devices).flatMap(([resource, ids]) => ids.map((id) => ({ resource, id, numaNodes }))),
    claims: [],
    ...given,
  };
}

/** Kinds that make a cufile.json, on a recorded machine, with what the kubelet would say in the test's hands. */
export class CufileRig implements Disposable {
  readonly tree: MachineTree;
  readonly state = mkdtempSync(join(tmpdir(), 'nabu-cufile-'));
  readonly paths: HostPaths;
  /** What the pod resources API shows, or fails with. */
  pods: readonly PodHolding[] | NabuError = [];
  lists = 0;

  constructor(description: MachineDescription) {
    this.tree = new MachineTree(description);
    this.paths = {
      roots: this.tree.roots,
      devRootInHost: '/dev',
      stateDir: this.state,
      stateDirInHost: '/var/lib/nabustore/device-plugin',
      cdiDir: join(this.state, 'cdi'),
      udevDirInHost: '/run/udev',
    };
  }

  shows(...containers: readonly ContainerHolding[]): void {
    this.pods = containers.map((one) => ({ namespace: one.namespace, name: one.pod, containers: [one] }));
  }

  async inventory(): Promise<Inventory> {
    return await discover(this.tree.roots, { signal: AbortSignal.timeout(15_000), isCharDevice: isMarker });
  }

  parts(given: { readonly logger?: Logger; readonly clock?: Clock } = {}): CufileParts {
    return {
      paths: this.paths,
      podResources: {
        list: async () => {
          this.lists++;
          if (this.pods instanceof Error) throw this.pods;
          return this.pods;
        },
      },
      // A documentation network (RFC 5737), numbered by the interface's name.
      addresses: { of: async (name) => [`192.0.2.${Number(/\d+/.exec(name)?.[0]) % 250}`] },
      clock: given.clock ?? realClock,
      logger: given.logger ?? silentLogger,
    };
  }

  /** `config`: as in the file of resources. */
  kind(config: Readonly<Record<string, unknown>>, parts = this.parts()): ResourceKind {
    const parsed: ResourceConfig = resourceConfigSchema.parse(config);
    if (parsed.kind === 'cufile') return cufileKind(parsed, parts);
    if (parsed.kind === 'gds') {
      return gdsKind(parsed, [], parts, new DeviceCheck(this.paths, { isCharDevice: isMarker }));
    }
    throw new RangeError(`${parsed.kind} makes no cufile.json`);
  }

  /** Throws when the machine has no such unit. */
  async unit(kind: ResourceKind, id: string): Promise<Unit> {
    const found = kind.units(await this.inventory()).find((unit) => unit.id === id);
    if (found === undefined) throw new RangeError(`no unit ${id}`);
    return found;
  }

  /** PreStartContainer as the pool would pass it on. */
  async prepare(kind: ResourceKind, units: readonly Unit[]): Promise<void> {
    using deadline = this.deadline();
    await kind.prepare?.(units, await this.inventory(), deadline);
  }

  deadline(timeoutMs = 10_000): Deadline {
    return new Deadline({ clock: realClock, operation: 'a call in a test', timeoutMs });
  }

  /** A file in the folder that the container of a unit sees. */
  read(kind: ResourceKind, id: string, name: string): string {
    return readFileSync(join(this.state, 'cufile', kind.resource.replace(/^.*\//, ''), id, name), 'utf8');
  }

  [Symbol.dispose](): void {
    this.tree[Symbol.dispose]();
    rmSync(this.state, { recursive: true, force: true });
  }
}
