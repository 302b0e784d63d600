import assert from 'node:assert/strict';
import { CoreV1Api, type V1ContainerPort } from '@kubernetes/client-node';
import type { KubeCluster } from '../cluster/index.ts';
import { freePorts } from '../cluster/ports.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';

const MARKER = 'nabustore.io/locality';

/** Who has the last word when two schedulers give away the same thing (docs/scheduler-extender.md): pods with a node need none. */
describe('a node to which more is given than it has', () => {
  let cluster: KubeCluster;
  let namespace: Namespace;

  before(async function () {
    cluster = await sharedCluster(this);
    namespace = await Namespace.make(cluster);
  });
  after(async () => {
    await (namespace as Namespace | undefined)?.[Symbol.asyncDispose]();
  });

  async function placed(name: string, requests: Record<string, string>, ports: V1ContainerPort[] = []): Promise<void> {
    await namespace.create(pod(name, { resources: { limits: requests, requests }, ports }, { nodeName: cluster.node }));
  }

  it('refuses the second pod, which fails with what is missing', async () => {
    const core = await cluster.api(CoreV1Api);
    const { status } = await core.readNode({ name: cluster.node });
    const all = status?.allocatable?.cpu ?? '';
    await placed('greedy', { cpu: '10m' });
    await namespace.untilReady('greedy');
    await placed('late', { cpu: all });
    const { status: late } = await namespace.untilPhase('late', 'Failed');
    assert.equal(late?.reason, 'OutOfcpu');
    await namespace.untilReady('greedy');
  });

  it('refuses a port of the host that another pod has', async () => {
    const { host: hostPort } = await freePorts(['host']);
    const port = { containerPort: 80, hostPort, hostIP: '127.0.0.1' };
    await placed('first', { cpu: '10m' }, [port]);
    await namespace.untilReady('first');
    await placed('second', { cpu: '10m' }, [port]);
    const { status } = await namespace.untilPhase('second', 'Failed');
    assert.equal(status?.reason, 'NodePorts');
  });

  it('does not mind the mark, which it has not got', async () => {
    await placed('marked', { cpu: '10m', [MARKER]: '1' });
    await namespace.untilReady('marked');
  });

  it('is no node for a pod that is bound already', async () => {
    const core = await cluster.api(CoreV1Api);
    const body = { metadata: { name: 'greedy' }, target: { kind: 'Node', name: 'another' } };
    await assert.rejects(
      core.createNamespacedPodBinding({ name: 'greedy', namespace: namespace.name, body }),
      /409|assigned/,
    );
  });
});
