import type { Logger } from '../../common/logging/index.ts';
import type { Clock } from '../../common/ports/index.ts';
import type { HealthConfig } from '../config/index.ts';
import { HealthTracker } from '../health/index.ts';
import type { KubeletPlugin, ResourceName } from '../kubelet/index.ts';
import type { MachineWatch } from '../machine/index.ts';
import { type Cause, type CauseCode, MachinePool } from '../resources/index.ts';
import type { ConfiguredKind } from './kinds.ts';

export type ServedResourcesOptions = {
  readonly kubelet: Pick<KubeletPlugin, 'serve' | 'withdraw'>;
  readonly machine: MachineWatch;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly withheld: (device: string) => Cause | undefined;
  /** `cause` is the first against a unit that turned unhealthy; undefined for one that is well again. */
  readonly onHealthChange: (resource: ResourceName, cause: CauseCode | undefined) => void;
};

type Served = { readonly pool: MachinePool; readonly signature: string };

/**
 * The resources that the kubelet is offered, as the newest configuration has them. One that is the same as before is not
 * touched; one that is made otherwise keeps its registration and its socket; one that is new is served, one that is gone
 * withdrawn. One change after the other.
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

  /** Resolves when the kubelet is offered these resources. A resource that cannot be is logged, and the others are. */
  apply(kinds: readonly ConfiguredKind[], health: HealthConfig): Promise<void> {
    this.#applying = this.#applying.then(() => this.#apply(kinds, health));
    return this.#applying;
  }

  /** What is withheld has changed. */
  refresh(): void {
    for (const { pool } of this.#served.values()) pool.refresh();
  }

  /** The pools let go of the machine; the kubelet's side is closed by whoever made it. */
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

  #serve({ kind, signature }: ConfiguredKind, health: HealthConfig): void {
    const { kubelet, machine, withheld, logger } = this.#options;
    const { resource } = kind;
    const pool = new MachinePool({ kind, machine, health: this.#tracker(resource, health), withheld, logger });
    try {
      kubelet.serve(pool);
    } catch (err) {
      pool.close();
      throw err;
    }
    this.#served.set(resource, { pool, signature });
    logger.info('resource is offered', { resource, units: pool.units.length });
  }

  #change(pool: MachinePool, before: string, { kind, signature }: ConfiguredKind, health?: HealthConfig): void {
    const { resource } = kind;
    if (health !== undefined) pool.judgeBy(this.#tracker(resource, health));
    if (signature === before) return;
    pool.use(kind);
    this.#served.set(resource, { pool, signature });
    this.#options.logger.info('resource is made otherwise', { resource, units: pool.units.length });
  }

  async #withdraw(resource: ResourceName): Promise<void> {
    await this.#options.kubelet.withdraw(resource);
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
