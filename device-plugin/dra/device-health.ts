import type { MessageInit } from '../../common/grpc/index.ts';
import type { v1alpha1 } from '../../proto/gen/messages.js';
import { slotDeviceName } from '../resources/index.ts';
import type { DraDevice } from './dra-device.ts';

/** dra-health/v1alpha1, HealthStatus. */
const HEALTHY = 1;
const UNHEALTHY = 2;

/**
 * For so long the kubelet believes what it was told (its own default is 30 s; Kubernetes 1.36, pkg/kubelet/cm/dra, healthinfo):
 * several times what lies between two messages.
 */
export const BELIEVED_SECONDS = 60;
export const REPEAT_MS = 20_000;

/** The kubelet cuts a message at 1,024 characters. */
const MESSAGE_CHARS = 1000;

function messageOf({ isHealthy, causes }: DraDevice): string {
  if (isHealthy) return '';
  if (causes.length === 0) return 'it is well again, and not yet for long enough';
  const text = causes.map(({ code, detail }) => `${code}: ${detail}`).join('; ');
  return text.length > MESSAGE_CHARS ? `${text.slice(0, MESSAGE_CHARS)}...` : text;
}

/**
 * Pure. The health of every device under each name that a claim may know it by: whole, and one per slot. Devices that are gone
 * are among them: their claims want to know.
 */
export function deviceHealth(
  devices: readonly DraDevice[],
  poolName: string,
  atMs: number,
): MessageInit<v1alpha1.NodeWatchResourcesResponse> {
  const messages = devices.flatMap((device) => {
    const names = [
      device.name,
      ...(device.units.length > 1 ? device.units.map((_, slot) => slotDeviceName(device.name, slot)) : []),
    ];
    return names.map((deviceName) => ({
      device: { poolName, deviceName },
      health: device.isHealthy ? HEALTHY : UNHEALTHY,
      lastUpdatedTime: BigInt(Math.floor(atMs / 1000)),
      healthCheckTimeoutSeconds: BigInt(BELIEVED_SECONDS),
      message: messageOf(device),
    }));
  });
  return { devices: messages };
}
