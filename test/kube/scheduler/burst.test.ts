import assert from 'node:assert/strict';
import type { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { until } from '../host/until.ts';
import { makeClaim, makePod } from './cluster-objects.ts';
import { GIB, NAMESPACE as namespace, onStage } from './stage.ts';
import type { StubProvisioner } from './stub-provisioner.ts';

const PODS = 120;
const ROOM = 72;
const WAIT_MS = 120_000;
const BOUND_AGAIN_MS = 30_000;

describe('a burst of pods for less capacity than they ask for', () => {
  let provisioner: StubProvisioner;
  let core: CoreV1Api;
  let config: KubeConfig;

  onStage(async (stage) => {
    ({ core, config } = stage);
    await stage.nodes(6);
    provisioner = await stage.provisioner(ROOM);
    const extender = await stage.readyExtender();
    await stage.plane.startScheduler({ port: extender.port, nodeCacheCapable: true });
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
