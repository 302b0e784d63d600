import type { V1Container, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { BUSYBOX_IMAGE } from '../cluster/index.ts';

/** Ends at once when it is told to: a shell as the first process of a container ignores signals. */
const FOREVER = ['/bin/sleep', '2147483647'];

/** A pod of one container that waits to be looked at; fields of `container` and `spec` come over the ordinary ones. */
export function pod(name: string, container: Partial<V1Container> = {}, spec: Partial<V1PodSpec> = {}): V1Pod {
  return {
    metadata: { name },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      restartPolicy: 'Never',
      dnsPolicy: 'Default',
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: BUSYBOX_IMAGE, command: FOREVER, ...container }],
      ...spec,
    },
  };
}
