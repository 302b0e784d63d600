import type { Logger } from '../../common/logging/index.ts';
import type { Clock, Timer } from '../../common/ports/index.ts';
import type { DeviceId, Unsubscribe } from '../kubelet/index.ts';
import type { Cause, UnitState } from '../resources/index.ts';
import type { HealthChange } from './health-change.ts';
import { firstHealth, HYSTERESIS, type Hysteresis, nextHealth, recoveryMs, type UnitHealth } from './unit-health.ts';

export type HealthTrackerOptions = Partial<Hysteresis> & {
  readonly clock: Clock;
  /** Gets one line for all units of a device that change alike. */
  readonly logger: Logger;
  /** Every change, in the order of the units, before the listeners of `watch`. */
  readonly onChange?: (change: HealthChange) => void;
};

type Tracked = { readonly device: string; readonly health: UnitHealth };

const codesOf = (causes: readonly Cause[]): string => causes.map(({ code }) => code).join();

/**
 * The health of units over time: unhealthy with the first cause, healthy only after all causes have been gone for a while,
 * which doubles with each failure that follows soon. A link that flaps is not given to pods between two of its flaps.
 */
export class HealthTracker {
  readonly #options: HealthTrackerOptions;
  readonly #hysteresis: Hysteresis;
  readonly #listeners = new Set<() => void>();
  #units = new Map<DeviceId, Tracked>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: HealthTrackerOptions) {
    const { recoverMs, maxRecoverMs, calmMs } = options;
    this.#options = options;
    this.#hysteresis = {
      recoverMs: recoverMs ?? HYSTERESIS.recoverMs,
      maxRecoverMs: Math.max(maxRecoverMs ?? HYSTERESIS.maxRecoverMs, recoverMs ?? 0),
      calmMs: calmMs ?? HYSTERESIS.calmMs,
    };
  }

  /** What all units are now. One that is not among them is forgotten. Nothing after `close`. */
  update(units: readonly UnitState[]): void {
    if (this.#isClosed) return;
    const before = this.#units;
    const atMs = this.#options.clock.monotonicMs();
    this.#units = new Map(
      units.map(({ id, device, causes }) => {
        const known = before.get(id)?.health;
        const health =
          known === undefined
            ? firstHealth({ causes }, atMs, this.#hysteresis)
            : nextHealth(known, causes, atMs, this.#hysteresis);
        return [id, { device, health }];
      }),
    );
    this.#settle(before);
  }

  /** False for a unit that is not known. */
  healthy(id: DeviceId): boolean {
    return this.#units.get(id)?.health.phase === 'healthy';
  }

  /** Why a unit is unhealthy; while it recovers, what was the matter. Empty for one that is healthy or not known. */
  causesOf(id: DeviceId): readonly Cause[] {
    const health = this.#units.get(id)?.health;
    if (health?.phase !== 'recovering') return health?.causes ?? [];
    const note = `over, counts until it has been so for ${health.waitMs} ms`;
    return health.causes.map(({ code, detail }) => ({ code, detail: `${detail} (${note})` }));
  }

  /** The listener hears after `healthy` would answer otherwise for some unit, or after units came or went. */
  watch(listener: () => void): Unsubscribe {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  /** Some unit has been well for as long as it had to be. */
  #recover(): void {
    const before = this.#units;
    const atMs = this.#options.clock.monotonicMs();
    this.#units = new Map(
      [...before].map(([id, { device, health }]) => {
        const causes = health.phase === 'ill' ? health.causes : [];
        return [id, { device, health: nextHealth(health, causes, atMs, this.#hysteresis) }];
      }),
    );
    this.#settle(before);
  }

  #settle(before: ReadonlyMap<DeviceId, Tracked>): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const changes: HealthChange[] = [];
    let isOther = before.size !== this.#units.size;
    let nextMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#options.clock.nowMs();
    for (const [id, { device, health }] of this.#units) {
      const was = before.get(id)?.health;
      const healthy = health.phase === 'healthy';
      if (health.phase === 'recovering') nextMs = Math.min(nextMs, recoveryMs(health));
      if (was === undefined || (was.phase === 'healthy') !== healthy) isOther = true;
      if (isNews(was, health)) changes.push({ id, device, healthy, causes: health.causes, atMs: nowMs });
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(nextMs);
    this.#tell(changes);
    if (isOther) for (const listener of [...this.#listeners]) listener();
  }

  #wakeAt(atMs: number): void {
    const { clock } = this.#options;
    // Timers count whole milliseconds and may fire a little early: one more never comes before its time.
    const delayMs = Math.max(1, Math.ceil(atMs - clock.monotonicMs()) + 1);
    this.#timer = clock.setTimer(() => this.#recover(), delayMs, { background: true });
  }

  #tell(changes: readonly HealthChange[]): void {
    const { logger, onChange } = this.#options;
    const lines = new Map<string, { readonly change: HealthChange; units: number }>();
    for (const change of changes) {
      onChange?.(change);
      const key = `${change.device}\n${change.healthy}\n${JSON.stringify(change.causes)}`;
      const line = lines.get(key);
      if (line === undefined) lines.set(key, { change, units: 1 });
      else line.units++;
    }
    for (const { change, units } of lines.values()) {
      const { device, causes } = change;
      if (change.healthy) logger.info('device is healthy', { device, units });
      else logger.warn('device is unhealthy', { device, units, causes: causes.map(({ detail }) => detail) });
    }
  }
}

/** A unit that is well when it is first seen is none, and a cause whose words alone are others is none. */
function isNews(was: UnitHealth | undefined, { phase, causes }: UnitHealth): boolean {
  if (was === undefined) return phase !== 'healthy';
  if ((was.phase === 'healthy') !== (phase === 'healthy')) return true;
  return phase === 'ill' && was.phase === 'ill' && codesOf(was.causes) !== codesOf(causes);
}
