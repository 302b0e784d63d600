import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DRIVER_NAME } from '../../../device-plugin/dra/index.ts';
import { MACHINES } from '../../fixtures/machines/index.ts';
import { allocated } from '../../support/claim-objects.ts';
import { KubeApiDouble } from '../../support/kube-api-double.ts';
import { eventually } from '../../support/kubelet-double.ts';
import { KubeletDraDouble } from '../../support/kubelet-dra-double.ts';
import { canMakeDevices, PluginNode } from '../../support/plugin-node.ts';
import { PodResourcesDouble } from '../../support/pod-resources-double.ts';
import { skip } from '../../support/skip.ts';

const START_MS = 20_000;
const CLAIMS = '/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims';
const FIRST = 'hca-0000-1a-00-0';
const SECOND = 'hca-0000-3c-00-0';

describe('claims on a node where things go wrong', function () {
  this.timeout(120_000);
  let node: PluginNode;
  let api: KubeApiDouble;
  let pods: PodResourcesDouble;
  let kubelet: KubeletDraDouble;

  before(function () {
    if (!canMakeDevices()) skip(this, 'right to make device files (CAP_MKNOD)');
  });

  beforeEach(async () => {
    api = await KubeApiDouble.start();
    api.put('/api/v1/nodes', { metadata: { name: 'node-1' } });
    node = new PluginNode(MACHINES['h200-8gpu']);
    node.configure({ health: { recoverMs: 0 }, resources: [{ kind: 'rdma', mode: 'dra' }] });
    pods = new PodResourcesDouble(join(node.kubeletDir, 'pod-resources', 'kubelet.sock'));
    await pods.start();
    kubelet = new KubeletDraDouble(node.kubeletDir);
  });

  afterEach(async () => {
    kubelet[Symbol.dispose]();
    await node.close();
    await pods.stop();
    await api[Symbol.asyncDispose]();
  });

  function flags(): string[] {
    const kubeconfig = join(node.root, 'kubeconfig');
    const cluster = { server: api.access().server, 'insecure-skip-tls-verify': true };
    const file = {
      'current-context': 'it',
      contexts: [{ name: 'it', context: { cluster: 'it', user: 'it' } }],
      clusters: [{ name: 'it', cluster }],
      users: [{ name: 'it', user: { token: 'it' } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(file));
    return ['--kubeconfig', kubeconfig];
  }

  async function start(): Promise<void> {
    const logged = node.log.length;
    node.start(flags());
    await kubelet.register(DRIVER_NAME);
    await node.logged('registered with the kubelet', START_MS, logged);
    await published();
  }

  /** Until the pod resources API was asked who has them, devices are nobody's. */
  async function published(): Promise<void> {
    const isThere = (): boolean =>
      node.log.some(({ message, devices }) => message === 'resource slices written' && devices === 6);
    await eventually('6 HCAs are published', isThere, START_MS);
  }

  function claimOf(name: string, device: string) {
    const { object, claim } = allocated(name, [{ device }]);
    api.put(CLAIMS, object);
    return claim;
  }

  const specs = (): string[] => readdirSync(join(node.root, 'cdi'));

  async function refusal(call: Promise<unknown>): Promise<string> {
    return await call.then(
      () => assert.fail('it was not refused'),
      (err: unknown) => String(err),
    );
  }

  it('are prepared once however many ask at once, and a device goes to one of 50 claims', async () => {
    await start();
    const one = claimOf('one', FIRST);
    const answers = await Promise.all(Array.from({ length: 50 }, () => kubelet.prepare(one)));
    assert.equal(new Set(answers.map((devices) => JSON.stringify(devices))).size, 1);
    const rivals = Array.from({ length: 50 }, (_, at) => claimOf(`rival-${at}`, SECOND));
    const outcomes = await Promise.allSettled(rivals.map((claim) => kubelet.prepare(claim)));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.equal(specs().length, 2);
  });

  it('that nobody knows, or that are not what the kubelet means, are ended quietly and prepared never', async () => {
    await start();
    const one = claimOf('one', FIRST);
    await kubelet.unprepare({ namespace: 'ml', name: 'never', uid: '00000000-dead-beef-0000-000000000000' });
    assert.match(await refusal(kubelet.prepare({ ...one, uid: 'another' })), /it was made anew/);
    for (const uid of ['../../x', 'a/b', '.', 'x'.repeat(64), 'a b']) {
      assert.match(await refusal(kubelet.prepare({ ...one, uid })), /INVALID_ARGUMENT: claim uid/);
      assert.match(await refusal(kubelet.unprepare({ ...one, uid })), /INVALID_ARGUMENT: claim uid/);
    }
    await kubelet.prepare(one);
    await kubelet.unprepare({ ...one, uid: 'another' });
    assert.equal(specs().length, 1);
    await kubelet.unprepare(one);
    await kubelet.unprepare(one);
    assert.deepEqual(specs(), []);
  });

  it('are served as soon as what was in the way of it at the start is away', async () => {
    mkdirSync(join(node.root, 'state'));
    writeFileSync(join(node.root, 'state', 'dra'), 'a file where a folder goes');
    node.start(flags());
    await node.logged('claims cannot be served', START_MS);
    rmSync(join(node.root, 'state', 'dra'));
    await kubelet.register(DRIVER_NAME);
    await published();
    assert.equal((await kubelet.prepare(claimOf('one', FIRST))).length, 1);
  });

  it('are prepared and ended after the state of the plugin was cleared under it', async () => {
    await start();
    const [one, two] = [claimOf('one', FIRST), claimOf('two', SECOND)];
    await kubelet.prepare(one);
    rmSync(join(node.root, 'state'), { recursive: true });
    rmSync(join(node.root, 'cdi'), { recursive: true });
    assert.equal((await kubelet.prepare(two)).length, 1);
    await kubelet.unprepare(one);
    await kubelet.unprepare(two);
    assert.deepEqual(specs(), []);
  });

  it('say that the disk is full, hold nothing then, and are prepared when it is not', async () => {
    const state = join(node.root, 'state');
    mkdirSync(state);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', state]);
    try {
      await start();
      const one = claimOf('one', FIRST);
      const ballast = join(state, 'ballast');
      assert.throws(() => writeFileSync(ballast, Buffer.alloc(1 << 20)), /ENOSPC/);
      assert.match(await refusal(kubelet.prepare(one)), /PATH_UNUSABLE: .*ENOSPC: no space left on device/);
      await kubelet.unprepare(one);
      rmSync(ballast);
      assert.equal((await kubelet.prepare(claimOf('two', FIRST))).length, 1);
    } finally {
      await node.stop('SIGKILL');
      execFileSync('umount', ['-l', state]);
    }
  });

  it('are one process alone: a second waits for its end, and then knows what the first has given', async () => {
    await start();
    const [before, during] = [claimOf('before', FIRST), claimOf('during', SECOND)];
    await kubelet.prepare(before);
    const first = node.pid ?? 0;
    try {
      node.start(flags());
      const { error } = await node.logged('claims cannot be served', START_MS);
      assert.match(JSON.stringify(error), /it has the claims of this node/);
      await kubelet.prepare(during);
    } finally {
      process.kill(first, 'SIGKILL');
    }
    const logged = node.log.length;
    await kubelet.register(DRIVER_NAME);
    await node.logged('registered with the kubelet', START_MS, logged);
    for (const [name, device] of [['a', FIRST] as const, ['b', SECOND] as const]) {
      assert.match(await refusal(kubelet.prepare(claimOf(name, device))), /has 1 slots, held by ml/);
    }
    await kubelet.unprepare(during);
    assert.equal((await kubelet.prepare(claimOf('after', SECOND))).length, 1);
  });
});
