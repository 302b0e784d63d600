import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { HealthConfig, ResourceConfig } from '../config/index.ts';
import { HealthTracker } from '../health/index.ts';
import type { ResourceName } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import { type Cause, type CauseCode, GrantedFiles, MachinePool } from '../resources/index.ts';
import type { Front } from './front.ts';
import type { ConfiguredKind } from './kinds.ts';

export type ServedResourcesOptions = {
  readonly front: Front;
  /** What outlives this process. */
  readonly stateDir: string;
  readonly machine: MachineWatch;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly withheld: (device: string, config: ResourceConfig) => Cause | undefined;
  /** `cause` is the first against a unit that turned unhealthy; undefined for one that is well again. */
  readonly onHealthChange: (resource: ResourceName, cause: CauseCode | undefined) => void;
};

type Served = { readonly pool: MachinePool; readonly signature: string };

/**
 * The resources that are offered one way, as the newest configuration has them. One that is the same as before is not
 * touched; one that is made otherwise keeps its pool, and with it its registration; one that is new is offered, one that is
 * gone withdrawn. One change after the other.
 */
export class ServedResources {
  readonly #options: ServedResourcesOptions;
  readonly #served = new Map<ResourceName, Served>();
  #health: HealthConfig | undefined;
  #applying: Promise<void> = Promise.resolve();

  constructor(options: ServedResourcesOptions) {
    this.#options = options;
  }

  get pools(): readonly MachinePool[] {
    return [...this.#served.values()].map(({ pool }) => pool);
  }

  /** Resolves when these resources are offered and no others. One that cannot be is logged, and the others are. */
  apply(kinds: readonly ConfiguredKind[], health: HealthConfig): Promise<void> {
    this.#applying = this.#applying.then(() => this.#apply(kinds, health));
    return this.#applying;
  }

  /** What is withheld has changed. */
  refresh(): void {
    for (const { pool } of this.#served.values()) pool.refresh();
  }

  /** The pools let go of the machine; the front is closed by whoever made it. */
  async close(): Promise<void> {
    await this.#applying;
    for (const { pool } of this.#served.values()) pool.close();
    this.#served.clear();
  }

  async #apply(kinds: readonly ConfiguredKind[], health: HealthConfig): Promise<void> {
    const wanted = new Map(kinds.map((one) => [one.kind.resource, one]));
    const isOtherHealth = JSON.stringify(health) !== JSON.stringify(this.#health);
    this.#health = health;
    for (const resource of [...this.#served.keys()]) {
      if (!wanted.has(resource)) await this.#withdraw(resource);
    }
    for (const [resource, one] of wanted) {
      try {
        const served = this.#served.get(resource);
        if (served === undefined) this.#serve(one, health);
        else this.#change(served.pool, served.signature, one, isOtherHealth ? health : undefined);
      } catch (err) {
        this.#options.logger.error('the resource cannot be served', { resource, error: err });
      }
    }
  }

  #serve(configured: ConfiguredKind, health: HealthConfig): void {
    const { front, stateDir, machine, withheld, logger } = this.#options;
    const { kind, config, signature } = configured;
    const { resource } = kind;
    const tracker = this.#tracker(resource, health);
    const isWithheld = (device: string): Cause | undefined => withheld(device, config);
    const granted = new GrantedFiles(stateDir, resource, logger);
    const pool = new MachinePool({ kind, machine, health: tracker, withheld: isWithheld, granted, logger });
    try {
      front.offer(pool, configured);
    } catch (err) {
      pool.close();
      throw err;
    }
    this.#served.set(resource, { pool, signature });
    logger.info('resource is offered', { resource, units: pool.units.length });
  }

  #change(pool: MachinePool, before: string, configured: ConfiguredKind, health?: HealthConfig): void {
    const { kind, signature } = configured;
    const { resource } = kind;
    if (health !== undefined) pool.judgeBy(this.#tracker(resource, health));
    if (signature === before) return;
    pool.use(kind);
    this.#options.front.offer(pool, configured);
    this.#served.set(resource, { pool, signature });
    this.#options.logger.info('resource is made otherwise', { resource, units: pool.units.length });
  }

  async #withdraw(resource: ResourceName): Promise<void> {
    await this.#options.front.withdraw(resource);
    this.#served.get(resource)?.pool.close();
    this.#served.delete(resource);
    this.#options.logger.info('resource is not offered any more', { resource });
  }

  #tracker(resource: ResourceName, health: HealthConfig): HealthTracker {
    const { clock, logger, onHealthChange } = this.#options;
    return new HealthTracker({
      ...health,
      clock,
      logger: logger.child({ component: 'health', resource }),
      onChange: ({ healthy, causes }) => onHealthChange(resource, healthy ? undefined : causes[0]?.code),
    });
  }
}
