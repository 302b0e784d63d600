import type { Cause, UnitState } from '../resources/index.ts';

/** How long a unit has to be well before it counts as healthy again. All in milliseconds. */
export type Hysteresis = {
  /** After a first failure. */
  readonly recoverMs: number;
  /** Each further failure doubles the wait, up to this. */
  readonly maxRecoverMs: number;
  /** Healthy for so long, a unit is trusted as one that never failed. */
  readonly calmMs: number;
};

export const HYSTERESIS: Hysteresis = { recoverMs: 5000, maxRecoverMs: 300_000, calmMs: 600_000 };

/**
 * The health of one unit. Times are those of a clock that never goes back.
 * - healthy: no cause.
 * - ill: causes stand against it.
 * - recovering: the causes are gone, it is not trusted yet; it counts as unhealthy.
 */
export type UnitHealth = {
  readonly phase: 'healthy' | 'ill' | 'recovering';
  /** Those that stand, or while it recovers the last that stood. */
  readonly causes: readonly Cause[];
  /** When the phase began. */
  readonly sinceMs: number;
  /** How long it had to be well the last time, or has to be now; 0 for one that never failed. */
  readonly waitMs: number;
};

/** Of a unit that was not there before: one that is well is trusted, or every start of the plugin would take all away. */
export function firstHealth(
  { causes }: Pick<UnitState, 'causes'>,
  atMs: number,
  { recoverMs }: Hysteresis,
): UnitHealth {
  if (causes.length === 0) return { phase: 'healthy', causes, sinceMs: atMs, waitMs: 0 };
  return { phase: 'ill', causes, sinceMs: atMs, waitMs: recoverMs };
}

/** Pure. What becomes of it with the causes that stand now; the same object when nothing does. */
export function nextHealth(
  health: UnitHealth,
  causes: readonly Cause[],
  atMs: number,
  hysteresis: Hysteresis,
): UnitHealth {
  if (causes.length > 0) return fallen(health, causes, atMs, hysteresis);
  if (health.phase === 'ill') return { ...health, phase: 'recovering', sinceMs: atMs };
  if (health.phase === 'recovering' && atMs >= recoveryMs(health)) {
    return { ...health, phase: 'healthy', causes: [], sinceMs: atMs };
  }
  return health;
}

/** When a unit that recovers is healthy, if nothing comes in between. */
export function recoveryMs({ sinceMs, waitMs }: UnitHealth): number {
  return sinceMs + waitMs;
}

function fallen(health: UnitHealth, causes: readonly Cause[], atMs: number, hysteresis: Hysteresis): UnitHealth {
  if (health.phase === 'ill') return { ...health, causes };
  const { recoverMs, maxRecoverMs, calmMs } = hysteresis;
  const isTrusted = health.phase === 'healthy' && (health.waitMs === 0 || atMs - health.sinceMs >= calmMs);
  const waitMs = isTrusted ? recoverMs : Math.min(maxRecoverMs, health.waitMs * 2);
  return { phase: 'ill', causes, sinceMs: atMs, waitMs };
}
