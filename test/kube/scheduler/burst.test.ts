import assert from 'node:assert/strict';
import { CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import { skip } from '../../support/skip.ts';
import { until } from '../host/until.ts';
import { makeClaim, makeClass, makeNode, makePod, untilPodsCanBeMade } from './cluster-objects.ts';
import { ExtenderProcess } from './extender-process.ts';
import { SchedulerPlane } from './scheduler-plane.ts';
import { StubProvisioner } from './stub-provisioner.ts';

const namespace = 'default';
const GIB = 2 ** 30;
const PODS = 120;
const ROOM = 72;
const WAIT_MS = 120_000;
const BOUND_AGAIN_MS = 30_000;

describe('a burst of pods for less capacity than they ask for', () => {
  let plane: SchedulerPlane;
  let extender: ExtenderProcess;
  let provisioner: StubProvisioner;
  let core: CoreV1Api;
  let config: KubeConfig;

  before(async function () {
    const missing = await SchedulerPlane.missing();
    if (missing !== '') skip(this, missing);
    plane = await SchedulerPlane.start();
    config = plane.config();
    core = config.makeApiClient(CoreV1Api);
    await untilPodsCanBeMade(config, namespace);
    for (let at = 0; at < 6; at++) await makeNode(config, `n${at}`, { attachLimit: 1000, cpu: '64' });
    await makeClass(config, 'fast');
    // The driver publishes late: for half a second its figures are those of before.
    provisioner = new StubProvisioner({
      config,
      namespace,
      className: 'fast',
      capacityBytes: ROOM * GIB,
      publishMs: 500,
    });
    await provisioner.start();
    extender = await ExtenderProcess.start(plane.kubeconfig, '--answer-within-ms', '5000');
    await extender.untilReady();
    await plane.startScheduler({ port: extender.port, nodeCacheCapable: true });
  });
  after(async () => {
    await provisioner?.stop();
    await extender?.stop();
    await plane?.stop();
  });

  async function pods(): Promise<{ bound: number; reasons: string[] }> {
    const { items } = await core.listNamespacedPod({ namespace });
    const waiting = items.filter(({ spec }) => !spec?.nodeName);
    const reasons = waiting.flatMap(
      ({ status }) => status?.conditions?.find(({ reason }) => reason === 'Unschedulable')?.message ?? [],
    );
    return { bound: items.length - waiting.length, reasons };
  }

  it('lets exactly as many run as there is room for, tells the others why, and lets them run when there is more', async () => {
    await Promise.all(
      Array.from({ length: PODS }, async (_, at) => {
        await makeClaim(config, namespace, `c${at}`, '1Gi');
        await makePod(config, namespace, `p${at}`, { claim: `c${at}` });
      }),
    );
    await until(`${ROOM} pods run and the others know why not`, WAIT_MS, async () => {
      const { bound, reasons } = await pods();
      if (bound !== ROOM || reasons.length !== PODS - ROOM)
        throw new Error(`${bound} run, ${reasons.length} know why not`);
      return true;
    });
    assert.deepEqual(
      [provisioner.made, provisioner.exhausted],
      [ROOM, 0],
      'nobody was let through for whom there was no room',
    );
    for (const reason of (await pods()).reasons)
      assert.match(reason, /asks for 1 GiB, (class fast has|the largest volume of class fast)|free/);
    await provisioner.grow((PODS - ROOM) * GIB);
    await until('all pods run', BOUND_AGAIN_MS, async () => {
      const { bound } = await pods();
      if (bound !== PODS) throw new Error(`${bound} run`);
      return true;
    });
    assert.equal(provisioner.exhausted, 0);
  });
});
