import assert from 'node:assert/strict';
import { CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import { get } from '../../support/extender/served.ts';
import { skip } from '../../support/skip.ts';
import { until } from '../host/until.ts';
import { makeClaim, makeClass, makeNode, makePod, untilPodsCanBeMade } from './cluster-objects.ts';
import { ExtenderProcess } from './extender-process.ts';
import { Relay } from './relay.ts';
import { SchedulerPlane } from './scheduler-plane.ts';
import { StubProvisioner } from './stub-provisioner.ts';

const namespace = 'default';
const GIB = 2 ** 30;
const PODS = 80;
const ROOM = 50;
const KILLED_AT = 30;
const WAIT_MS = 180_000;

describe('two extenders, of which one dies in the middle of a burst', () => {
  let plane: SchedulerPlane;
  let provisioner: StubProvisioner;
  let relay: Relay;
  let core: CoreV1Api;
  let config: KubeConfig;
  const extenders: ExtenderProcess[] = [];

  before(async function () {
    const missing = await SchedulerPlane.missing();
    if (missing !== '') skip(this, missing);
    plane = await SchedulerPlane.start();
    config = plane.config();
    core = config.makeApiClient(CoreV1Api);
    await untilPodsCanBeMade(config, namespace);
    for (let at = 0; at < 4; at++) await makeNode(config, `n${at}`, { attachLimit: 1000, cpu: '64' });
    await makeClass(config, 'fast');
    provisioner = new StubProvisioner({
      config,
      namespace,
      className: 'fast',
      capacityBytes: ROOM * GIB,
      publishMs: 500,
    });
    await provisioner.start();
    const flags = ['--lease', `${namespace}/nabu-extender`, '--answer-within-ms', '5000'];
    for (const identity of ['one', 'two']) {
      extenders.push(await ExtenderProcess.start(plane.kubeconfig, ...flags, '--identity', identity));
    }
    relay = await Relay.start();
    await plane.startScheduler({ port: relay.port, nodeCacheCapable: true });
  });
  after(async () => {
    await provisioner?.stop();
    await relay?.close();
    for (const extender of extenders) await extender.stop();
    await plane?.stop();
  });

  /** The one that answers, as a Service finds it: by readiness. */
  const ready = (): Promise<ExtenderProcess> =>
    until('one extender is ready', WAIT_MS, async () => {
      for (const extender of extenders) {
        const answer = await get(extender.port, '/readyz').catch(() => undefined);
        if (answer?.status === 200) return extender;
      }
      return undefined;
    });

  it('overcommit nothing, answer one at a time, and all that has room runs', async () => {
    const first = await ready();
    for (const other of extenders.filter((extender) => extender !== first)) {
      assert.match((await get(other.port, '/readyz')).text, /another one answers/);
    }
    relay.to = first.port;
    const bound = async (): Promise<number> => {
      const { items } = await core.listNamespacedPod({ namespace });
      return items.filter(({ spec }) => spec?.nodeName).length;
    };
    for (let at = 0; at < PODS; at++) {
      await makeClaim(config, namespace, `c${at}`, '1Gi');
      await makePod(config, namespace, `p${at}`, { claim: `c${at}` });
      if (at === KILLED_AT) await first.stop('SIGKILL');
    }
    assert((await bound()) < ROOM, 'it died in the middle');
    const second = await ready();
    assert.notEqual(second, first);
    relay.to = second.port;
    await until(`${ROOM} pods run`, WAIT_MS, async () => {
      const count = await bound();
      if (count < ROOM) throw new Error(`${count} run`);
      return true;
    });
    assert.deepEqual([await bound(), provisioner.made, provisioner.exhausted], [ROOM, ROOM, 0]);
  });
});
