import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { CoreV1Api, VersionApi } from '@kubernetes/client-node';
import type { KubeCluster } from './cluster/index.ts';
import { Namespace, pod } from './pods/index.ts';
import { sharedCluster } from './shared.ts';

describe('a Kubernetes for tests', () => {
  let cluster: KubeCluster;

  before(async function () {
    cluster = await sharedCluster(this);
  });

  it('is the version that it says, with one node that is ready', async () => {
    assert.equal((await (await cluster.api(VersionApi)).getCode()).gitVersion, 'v1.36.3');
    const { items } = await (await cluster.api(CoreV1Api)).listNode();
    assert.deepEqual(
      items.map(({ metadata, status }) => [metadata?.name, status?.nodeInfo?.kubeletVersion]),
      [[cluster.node, 'v1.36.3']],
    );
  });

  it('runs a pod, and shows its logs and what a command in it says', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('talker', { command: ['/bin/sh', '-c', 'echo hello; exec sleep 2147483647'] }));
    await namespace.untilReady('talker');
    assert.equal(await namespace.logs('talker'), 'hello\n');
    assert.equal(await namespace.exec('talker', 'cat', '/etc/hostname'), 'talker\n');
  });

  it('gives a pod the huge pages that it asks for, and no more', async () => {
    await using namespace = await Namespace.make(cluster);
    const limits = { cpu: '100m', memory: '64Mi', 'hugepages-2Mi': '8Mi' };
    await namespace.create(pod('pages', { resources: { limits } }));
    await namespace.untilReady('pages');
    assert.equal(await namespace.exec('pages', 'guest', 'anonymous', String(8 << 20)), 'ok touched 4 pages\n');
    await assert.rejects(namespace.exec('pages', 'guest', 'anonymous', String(10 << 20)), /refused/);
  });

  it('leaves its pods running while the kubelet restarts', async () => {
    await using namespace = await Namespace.make(cluster);
    await namespace.create(pod('stayer'));
    const before = await namespace.untilReady('stayer');
    await cluster.restartKubelet();
    const after = await namespace.untilReady('stayer');
    const started = (one: typeof before) => one.status?.containerStatuses?.map(({ containerID }) => containerID);
    assert.deepEqual(started(after), started(before));
    assert.equal(await namespace.exec('stayer', 'echo', 'there'), 'there\n');
  });

  it('has everything of the kubelet that a plugin looks for below one folder', async () => {
    for (const path of ['device-plugins/kubelet.sock', 'pod-resources/kubelet.sock', 'plugins_registry', 'plugins']) {
      await access(`${cluster.kubeletDir}/${path}`);
    }
    await access(cluster.nriSocket);
  });
});
