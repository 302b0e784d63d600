import type { Deadline } from '../../common/concurrency/index.ts';
import { NabuError } from '../../common/errors/index.ts';
import type { Logger } from '../../common/logging/index.ts';
import type {
  ContainerGrant,
  DeviceId,
  DevicePool,
  PooledDevice,
  PoolOptions,
  ResourceName,
  Unsubscribe,
} from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import type { GrantedFiles } from './granted-files.ts';
import { preferred } from './preferred.ts';
import type { ResourceKind } from './resource-kind.ts';
import type { Cause, Unit, UnitState } from './unit.ts';

/** Who says whether a unit counts as healthy, given the causes against it now and before. */
export type UnitHealth = {
  update(units: readonly UnitState[]): void;
  healthy(id: DeviceId): boolean;
  causesOf(id: DeviceId): readonly Cause[];
  /** The listener hears that `healthy` would say something else of some unit. */
  watch(listener: () => void): Unsubscribe;
  close(): void;
};

export type MachinePoolOptions = {
  readonly kind: ResourceKind;
  readonly machine: MachineWatch;
  /** The pool's own: it closes it. */
  readonly health: UnitHealth;
  /** Why a device may not be had here for another reason than how it is, such as that it is given out by claims. */
  readonly withheld: (device: string) => Cause | undefined;
  /** What containers were given; without it, that is not held against what the machine has when they start again. */
  readonly granted?: GrantedFiles;
  readonly logger: Logger;
};

/** How many units that are gone a pool remembers; the oldest are forgotten first. */
const GONE_LIMIT = 4096;

/**
 * A resource on a machine that changes. What a kind makes of the machine now, and what it made of it before: a unit that
 * was there stays in the list, unhealthy, until it is there again or the configuration no longer has it. (A kubelet that is
 * told of fewer devices fails the pods that it restarts with; one that is told of unhealthy ones keeps them apart.)
 */
export class MachinePool implements DevicePool {
  readonly resource: ResourceName;
  readonly options: PoolOptions;
  readonly #machine: MachineWatch;
  readonly #withheld: (device: string) => Cause | undefined;
  readonly #granted: GrantedFiles | undefined;
  readonly #logger: Logger;
  readonly #listeners = new Set<() => void>();
  readonly #unwatchMachine: Unsubscribe;
  #health: UnitHealth;
  #unwatchHealth: Unsubscribe;
  #kind: ResourceKind;
  /** In the order of the list: those of the machine first, then those that are gone, the longest first. */
  #units: ReadonlyMap<DeviceId, UnitState> = new Map();
  #gone: ReadonlySet<DeviceId> = new Set();

  constructor({ kind, machine, health, withheld, granted, logger }: MachinePoolOptions) {
    this.resource = kind.resource;
    this.options = kind.options;
    this.#kind = kind;
    this.#machine = machine;
    this.#health = health;
    this.#withheld = withheld;
    this.#granted = granted;
    this.#logger = logger.child({ resource: kind.resource });
    this.refresh();
    this.#unwatchMachine = machine.watch(() => this.#onMachine());
    this.#unwatchHealth = health.watch(() => this.#tell());
  }

  /** Every unit with what is against it now, whether or not it counts as healthy yet. */
  get units(): readonly UnitState[] {
    return [...this.#units.values()];
  }

  /**
   * Another configuration of the same resource. What the kubelet has been told stays; units that this one does not have are
   * gone from the list. Throws INVALID_ARGUMENT for another resource, or one with other options, which are told once.
   */
  use(kind: ResourceKind): void {
    const { preStartRequired, getPreferredAllocationAvailable } = kind.options;
    const isSame =
      kind.resource === this.resource &&
      preStartRequired === this.options.preStartRequired &&
      getPreferredAllocationAvailable === this.options.getPreferredAllocationAvailable;
    if (!isSame) throw NabuError.of('INVALID_ARGUMENT', { field: this.resource, reason: 'it is registered otherwise' });
    this.#look(kind, []);
    this.#kind = kind;
  }

  /** Another judge of health, who knows nothing of what was before. The one until now is closed. */
  judgeBy(health: UnitHealth): void {
    this.#unwatchHealth();
    this.#health.close();
    this.#health = health;
    this.#unwatchHealth = health.watch(() => this.#tell());
    this.refresh();
    this.#tell();
  }

  /** Looks at the machine and at what is withheld again. */
  refresh(): void {
    this.#look(this.#kind, [...this.#units.values()]);
  }

  #look(kind: ResourceKind, before: readonly UnitState[]): void {
    const { inventory } = this.#machine;
    const units = new Map<DeviceId, UnitState>();
    for (const unit of kind.units(inventory)) units.set(unit.id, this.#judged(unit));
    const gone = before.filter(({ id }) => !units.has(id));
    const since = [...gone.filter(({ id }) => this.#gone.has(id)), ...gone.filter(({ id }) => !this.#gone.has(id))];
    const remembered = since.slice(-GONE_LIMIT);
    for (const unit of remembered) {
      const absent: Cause = { code: 'absent', detail: `${unit.device} is not there any more` };
      // Not asked whether it is withheld: another resource may have the device by now.
      units.set(unit.id, { ...unit, causes: [kind.missing?.(unit, inventory) ?? absent] });
    }
    this.#gone = new Set(remembered.map(({ id }) => id));
    const isChanged = !sameIds(units, this.#units);
    this.#units = units;
    this.#health.update([...units.values()]);
    if (isChanged) this.#tell();
  }

  /** Whatever a machine shows, the pools of other resources hear of it as well. */
  #onMachine(): void {
    try {
      this.refresh();
    } catch (err) {
      this.#logger.error('the units of the machine cannot be told: those before stand', { error: err });
    }
  }

  #judged(unit: UnitState): UnitState {
    const cause = this.#withheld(unit.device);
    return cause === undefined ? unit : { ...unit, causes: [cause, ...unit.causes] };
  }

  devices(): readonly PooledDevice[] {
    return [...this.#units.values()].map(({ id, numaNodes }) => ({ id, healthy: this.#health.healthy(id), numaNodes }));
  }

  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  prefer(available: readonly DeviceId[], mustInclude: readonly DeviceId[], size: number): readonly DeviceId[] {
    return preferred(this.#units, available, mustInclude, size);
  }

  /** Throws DEVICE_NOT_FOUND, DEVICE_UNHEALTHY, or what the kind throws. */
  async allocate(ids: readonly DeviceId[], deadline: Deadline): Promise<ContainerGrant> {
    const grant = await this.#kind.grant(this.#healthyUnits(ids), this.#machine.inventory, deadline);
    // After the answer: the container waits for that, and the line takes longer than all the rest.
    setImmediate(() => {
      this.#logger.info('allocated', { ids });
      if (this.#kind.foreignFile !== undefined) {
        const files = grant.devices.map(({ hostPath }) => hostPath);
        this.#granted?.note(ids, files);
      }
    });
    return grant;
  }

  /** Throws as `allocate` does. */
  async prepare(ids: readonly DeviceId[], deadline: Deadline): Promise<void> {
    try {
      const units = this.#healthyUnits(ids);
      await this.#requireOwn(units, ids);
      await this.#kind.prepare?.(units, this.#machine.inventory, deadline);
    } catch (err) {
      this.#logger.warn('a container is kept from starting', { ids, error: err });
      throw err;
    }
  }

  close(): void {
    this.#unwatchMachine();
    this.#unwatchHealth();
    this.#health.close();
    this.#listeners.clear();
  }

  /** A container that starts again has the device files of its first start. */
  async #requireOwn(units: readonly Unit[], ids: readonly DeviceId[]): Promise<void> {
    const files = (await this.#granted?.of(ids)) ?? [];
    const foreign = this.#kind.foreignFile?.(units, this.#machine.inventory, files);
    if (foreign === undefined) return;
    const reason = `the container was given ${foreign}, which is of another device now: delete the pod, a new one gets what the node has`;
    throw NabuError.of('DEVICE_UNUSABLE', { resource: this.resource, id: ids[0] ?? '', reason });
  }

  #healthyUnits(ids: readonly DeviceId[]): readonly Unit[] {
    const { resource } = this;
    return ids.map((id) => {
      const unit = this.#units.get(id);
      if (unit === undefined) throw NabuError.of('DEVICE_NOT_FOUND', { resource, id });
      if (!this.#health.healthy(id)) throw NabuError.of('DEVICE_UNHEALTHY', { resource, id });
      return unit;
    });
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function sameIds(a: ReadonlyMap<DeviceId, UnitState>, b: ReadonlyMap<DeviceId, UnitState>): boolean {
  return a.size === b.size && [...a.keys()].every((id) => b.has(id));
}
