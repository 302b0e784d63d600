import type { DeviceId } from '../kubelet/index.ts';
import type { Cause } from '../resources/index.ts';

/** A unit that turned unhealthy or healthy, or is unhealthy for other causes than before. */
export type HealthChange = {
  readonly id: DeviceId;
  /** What it is a unit of, as Unit.device. */
  readonly device: string;
  readonly healthy: boolean;
  /** Why it is unhealthy; empty when it is healthy again. */
  readonly causes: readonly Cause[];
  /** Wall time. */
  readonly atMs: number;
};
