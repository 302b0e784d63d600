import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import { type CufileMode, type CufileSettings, type CufileVersion, cufileJson } from '../cufile/index.ts';
import type { Inventory } from '../discovery/index.ts';
import type { ContainerGrant, ResourceName } from '../kubelet/index.ts';
import { holdersAmong, type PodHolding, type PodResources } from '../pod-resources/index.ts';
import type { NetAddresses } from './cufile-addresses.ts';
import { CUFILE_NAME, CufileFolders } from './cufile-folders.ts';
import { type CufileGiven, cufileGiven, type Shown } from './cufile-given.ts';
import { cufileGpus, cufileHcas } from './cufile-hardware.ts';
import { modeAsGranted } from './cufile-mode.ts';
import { devicePathInHost, type HostPaths } from './host-paths.ts';
import type { Unit } from './unit.ts';

/** What kinds that make a cufile.json need beside their configuration. */
export type CufileParts = {
  readonly paths: HostPaths;
  readonly podResources: Pick<PodResources, 'list'>;
  readonly addresses: NetAddresses;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type CufileWishes = {
  readonly version: CufileVersion;
  readonly settings: CufileSettings;
  readonly overrides: Readonly<Record<string, unknown>>;
};

/** Where a container finds its file; cuFile itself is told by the environment. */
export const CONTAINER_FOLDER = '/etc/nabustore/cufile';
const UDEV_FOLDER = '/run/udev';
/** The kubelet waits 30 s for PreStartContainer (constants.go, KubeletPreStartContainerRPCTimeoutInSecs). */
const ASK_LIMIT_MS = 5000;
const SWEEP_EVERY_MS = 600_000;

const CUFILE_RESOURCE = /^nabustore\.io\/(?:cufile|gds)(?:-|$)/;

/** The unit whose folder is the container's: ids come in no order, in Allocate as in PreStartContainer. */
function firstOf(units: readonly Unit[]): Unit {
  const [first] = [...units].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (first === undefined) throw new RangeError('no unit');
  return first;
}

/** A cufile.json for each container that holds units of one resource: what Allocate gives, what PreStartContainer writes. */
export class CufileContainers {
  readonly #resource: ResourceName;
  readonly #wishes: CufileWishes;
  readonly #parts: CufileParts;
  readonly #logger: Logger;
  readonly #folders: CufileFolders;
  #sweptAtMs: number;

  constructor(resource: ResourceName, wishes: CufileWishes, parts: CufileParts) {
    this.#resource = resource;
    this.#wishes = wishes;
    this.#parts = parts;
    this.#logger = parts.logger.child({ component: 'cufile', resource });
    this.#folders = new CufileFolders(parts.paths, resource.slice(resource.indexOf('/') + 1));
    this.#sweptAtMs = parts.clock.monotonicMs();
  }

  /** Throws CUFILE_UNAVAILABLE when the machine has come to be without any way that the settings allow. */
  async grant(units: readonly Unit[], machine: Inventory): Promise<ContainerGrant> {
    const { paths } = this.#parts;
    const { id } = firstOf(units);
    const mode = modeAsGranted(undefined, machine, this.#wishes.settings);
    await this.#folders.grant(id, mode);
    const files = mode === 'nvidia-fs' ? machine.nvidiaFs.devices : [];
    return {
      devices: files.map((path) => ({
        containerPath: path,
        hostPath: devicePathInHost(paths, path),
        permissions: 'rw',
      })),
      mounts: [
        { containerPath: CONTAINER_FOLDER, hostPath: this.#folders.pathInHost(id), readOnly: true },
        { containerPath: UDEV_FOLDER, hostPath: paths.udevDirInHost, readOnly: true },
      ],
      environment: { CUFILE_ENV_PATH_JSON: `${CONTAINER_FOLDER}/${CUFILE_NAME}` },
      annotations: {},
      cdiDevices: [],
    };
  }

  /**
   * Writes the file for the container that holds the units. `own`: the `device` of those units that are HCAs. Throws what
   * `modeAsGranted` and `cufileJson` throw, FAILED_PRECONDITION for a container that asks for two such files.
   */
  async prepare(
    units: readonly Unit[],
    own: ReadonlySet<string>,
    machine: Inventory,
    deadline: Deadline,
  ): Promise<void> {
    const { id } = firstOf(units);
    const mode = modeAsGranted(await this.#folders.grantedMode(id), machine, this.#wishes.settings);
    const pods = await this.#list(deadline);
    const shown = 'why' in pods ? pods : this.#shownIn(pods.list, units);
    const given = cufileGiven(units, own, shown, machine);
    const { version, settings, overrides } = this.#wishes;
    const input = {
      mode,
      cufileVersion: version,
      hcas: await cufileHcas(given.hcas, this.#parts.addresses),
      gpus: cufileGpus(given.gpus),
    };
    const file = cufileJson(input, settings, overrides);
    const notes = [...given.notes, ...file.notes];
    await this.#folders.write(id, file.text, notesText(this.#resource, shown, mode, given, notes));
    this.#log(units, shown, mode, given, notes);
    if (!('why' in pods)) await this.#sweep(pods.list);
  }

  /** The pods, or why they are not known: a kubelet that does not answer must not keep a container from starting. */
  async #list(deadline: Deadline): Promise<{ readonly list: readonly PodHolding[] } | { readonly why: string }> {
    using limit = deadline.within('asking for pod resources', ASK_LIMIT_MS);
    try {
      return { list: await this.#parts.podResources.list(limit) };
    } catch (err) {
      deadline.throwIfExpired();
      if (!NabuError.is(err)) throw err;
      return { why: `the pod resources API could not be asked (${err.message})` };
    }
  }

  /**
   * An init container is not shown itself; the container that takes its units over is. Where that one holds other units as
   * well the two can be told apart.
   */
  #shownIn(pods: readonly PodHolding[], units: readonly Unit[]): Shown {
    const [holding, ...others] = holdersAmong(pods, this.#resource, firstOf(units).id);
    if (holding === undefined) {
      return { why: 'the pod resources API does not show the container, as it shows no init container' };
    }
    const held = holding.devices.filter(({ resource }) => resource === this.#resource).map((device) => device.id);
    const isSame = held.length === units.length && units.every((unit) => held.includes(unit.id));
    if (!isSame || others.length > 0) {
      return { why: `the pod resources API shows the units in the hands of ${nameOf(holding)}, and not these alone` };
    }
    this.#refuseTwo(holding.devices.map(({ resource }) => resource));
    return { holding };
  }

  #refuseTwo(resources: readonly string[]): void {
    const other = resources.find((resource) => resource !== this.#resource && CUFILE_RESOURCE.test(resource));
    if (other === undefined) return;
    const both = [this.#resource, other].sort().join(' and ');
    const reason = `it asks for ${both}, of which each brings a ${CUFILE_NAME}, and cuFile reads one: ask for one of them`;
    throw NabuError.of('FAILED_PRECONDITION', { operation: 'starting the container', reason });
  }

  #log(units: readonly Unit[], shown: Shown, mode: CufileMode, given: CufileGiven, notes: readonly string[]): void {
    const fields = {
      ids: units.map(({ id }) => id),
      container: 'holding' in shown ? nameOf(shown.holding) : undefined,
      mode,
      hcas: given.hcas.map(({ name }) => name),
      gpus: given.gpus.map(({ pci }) => pci.address),
    };
    if (notes.length === 0) this.#logger.info('cufile.json written', fields);
    else this.#logger.warn('cufile.json written with reservations', { ...fields, notes });
  }

  /** What cannot be removed now is tried again later: no container waits for it. */
  async #sweep(pods: readonly PodHolding[]): Promise<void> {
    const { clock } = this.#parts;
    if (clock.monotonicMs() - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = clock.monotonicMs();
    try {
      const removed = await this.#folders.sweep((id) => this.#isHeld(pods, id), clock.nowMs());
      if (removed.length > 0) this.#logger.info('removed what was made for units that nobody holds', { removed });
    } catch (err) {
      this.#logger.warn('old cuFile folders cannot be removed', { error: err });
    }
  }

  #isHeld(pods: readonly PodHolding[], id: string): boolean {
    return holdersAmong(pods, this.#resource, id).length > 0;
  }
}

function nameOf({ namespace, pod, container }: { namespace: string; pod: string; container: string }): string {
  return `${namespace}/${pod}/${container}`;
}

function notesText(
  resource: ResourceName,
  shown: Shown,
  mode: CufileMode,
  { hcas, gpus }: CufileGiven,
  notes: readonly string[],
): string {
  const list = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '));
  const lines = [
    `${CUFILE_NAME} was made by ${resource} for ${'holding' in shown ? nameOf(shown.holding) : 'a container'}.`,
    `Mode: ${mode}.`,
    `HCAs: ${list(hcas.map(({ name, pci }) => `${name} (${pci?.address})`))}.`,
    `GPUs: ${list(gpus.map(({ pci }) => pci.address))}.`,
    ...notes.map((note) => `Note: ${note}.`),
  ];
  return `${lines.join('\n')}\n`;
}
