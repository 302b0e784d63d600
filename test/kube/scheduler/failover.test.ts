import assert from 'node:assert/strict';
import { CoordinationV1Api, type CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import { get } from '../../support/extender/served.ts';
import { until } from '../host/until.ts';
import { makeClaim, makePod } from './cluster-objects.ts';
import type { ExtenderProcess } from './extender-process.ts';
import type { Relay } from './relay.ts';
import { NAMESPACE as namespace, onStage } from './stage.ts';
import type { StubProvisioner } from './stub-provisioner.ts';

const PODS = 80;
const ROOM = 50;
const KILLED_AT = 30;
const WAIT_MS = 180_000;

describe('two extenders, of which one dies in the middle of a burst', () => {
  let provisioner: StubProvisioner;
  let relay: Relay;
  let core: CoreV1Api;
  let config: KubeConfig;
  const extenders: ExtenderProcess[] = [];

  onStage(async (stage) => {
    ({ core, config } = stage);
    await stage.nodes(4);
    provisioner = await stage.provisioner(ROOM);
    for (const identity of ['one', 'two']) {
      extenders.push(await stage.extender('--lease', `${namespace}/nabu-extender`, '--identity', identity));
    }
    relay = await stage.relay();
    await stage.plane.startScheduler({ port: relay.port, nodeCacheCapable: true });
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

  it('stay who they are when their clocks jump', async () => {
    const first = await ready();
    const lease = config.makeApiClient(CoordinationV1Api);
    const renewals = new Set<string>();
    for (const jumps of [1, 2]) {
      for (const extender of extenders) extender.jumpClock();
      renewals.clear();
      await until(`the Lease is renewed after jump ${jumps}`, WAIT_MS, async () => {
        const { metadata, spec } = await lease.readNamespacedLease({ namespace, name: 'nabu-extender' });
        assert.equal(spec?.leaseTransitions, 1);
        renewals.add(metadata?.resourceVersion ?? '');
        return renewals.size === 3 || undefined;
      });
      assert.equal(await ready(), first);
    }
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
