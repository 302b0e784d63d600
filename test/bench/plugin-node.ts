import { join } from 'node:path';
import { GrpcClient } from '../../common/grpc/index.ts';
import { h200 } from '../fixtures/machines/h200-8gpu.ts';
import { eventually } from '../support/kubelet-double.ts';
import { canMakeDevices, PluginNode } from '../support/plugin-node.ts';
import { PodResourcesDouble } from '../support/pod-resources-double.ts';
import { Missing } from './provider.ts';
import type { Scope } from './scope.ts';

/** The four ConnectX-7 of the recorded H200 node. */
export const HCAS = ['0000:1a:00.0', '0000:3c:00.0', '0000:9c:00.0', '0000:bc:00.0'] as const;
const READY_MS = 30_000;

/** `nabu device-plugin` as a process on the recorded H200 node, before a kubelet double that has nothing else to do. */
export async function startPluginNode(
  scope: Scope,
  resources: readonly unknown[],
  expected: Readonly<Record<string, number>>,
): Promise<PluginNode> {
  if (!canMakeDevices()) throw new Missing('no right to make device files (CAP_MKNOD)');
  const node = new PluginNode(h200);
  scope.defer('the device plugin', () => node.close());
  const pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
  scope.defer('the pod resources API', () => pods.stop());
  await pods.start();
  await node.kubelet.start();
  node.configure({ resources });
  node.start();
  for (const [resource, count] of Object.entries(expected)) {
    await eventually(
      `${count} of ${resource}`,
      () => node.kubelet.advertised(resource)?.length === count,
      READY_MS,
      () => node.stderr.slice(-2000),
    );
  }
  return node;
}

export function connect(scope: Scope, path: string): GrpcClient {
  const client = new GrpcClient({ address: { kind: 'unix', path } });
  scope.defer(path, () => client.close());
  return client;
}
