import type { ContainerGrant } from '../kubelet/index.ts';
import type { CdiEdits } from './spec.ts';

/**
 * What the kubelet would make of a grant of a device plugin, as edits: device files, binds and variables. CDI has no
 * annotations of containers, and no names of other CDI devices.
 */
export function editsOf(grant: Pick<ContainerGrant, 'devices' | 'mounts' | 'environment'>): CdiEdits {
  return {
    env: Object.entries(grant.environment).map(([name, value]) => `${name}=${value}`),
    deviceNodes: grant.devices.map(({ containerPath, hostPath, permissions }) => ({
      path: containerPath,
      ...(hostPath === containerPath ? {} : { hostPath }),
      permissions,
    })),
    mounts: grant.mounts.map(({ containerPath, hostPath, readOnly }) => ({
      hostPath,
      containerPath,
      // Not recursive: what is mounted below on the host is no part of the grant, and 'ro' would not reach it.
      options: ['bind', 'rprivate', 'nosuid', 'nodev', readOnly ? 'ro' : 'rw'],
    })),
  };
}
