import assert from 'node:assert/strict';
import { StorageV1Api } from '@kubernetes/client-node';
import { get, post } from '../../support/extender/served.ts';
import { until } from '../host/until.ts';
import { makeClaim, makePod, podObject } from './cluster-objects.ts';
import type { ExtenderProcess } from './extender-process.ts';
import type { Relay } from './relay.ts';
import { GIB, NAMESPACE as namespace, onStage, type Stage, WAKE } from './stage.ts';
import type { StubProvisioner } from './stub-provisioner.ts';

const NODES = ['n0', 'n1', 'n2'];
const PROMISED_MS = 10_000;
const HEARD_MS = 20_000;
/** Without anybody who wakes it a scheduler waits for five minutes. */
const SOON_MS = 20_000;

describe('in a cluster in which nothing else happens a pod that was refused for what was reserved for another one', () => {
  let stage: Stage;
  let provisioner: StubProvisioner;
  let relay: Relay;
  let extender: ExtenderProcess;

  onStage(async (given) => {
    stage = given;
    await stage.nodes(NODES.length);
    provisioner = await stage.provisioner(0);
    relay = await stage.relay();
    await answers('--promised-ms', String(PROMISED_MS));
    await stage.plane.startScheduler({ port: relay.port, nodeCacheCapable: true });
  });

  async function answers(...flags: string[]): Promise<void> {
    extender = await stage.readyExtender(...WAKE, ...flags);
    relay.to = extender.port;
    // The pods that it refuses from here on are refused after it has made itself known.
    await untilWoken(1);
  }

  async function untilWoken(times: number): Promise<void> {
    await until(`schedulers were woken ${times} times`, HEARD_MS, async () => {
      const { text } = await get(extender.port, '/metrics');
      return text.includes(`nabu_extender_wakes_total{result="done"} ${times}`) ? true : undefined;
    });
  }

  /** A scheduler asks about a pod, and is never heard of again. */
  async function promise(name: string): Promise<void> {
    await makeClaim(stage.config, namespace, name, '1Gi');
    const { metadata, spec } = podObject(name, { claim: name });
    const Pod = { metadata: { ...metadata, namespace, uid: `uid-${name}` }, spec };
    await until('somebody is promised the room', HEARD_MS, async () => {
      const { text } = await post(extender.port, '/filter', JSON.stringify({ Pod, Nodes: null, NodeNames: NODES }));
      return JSON.parse(text).NodeNames?.length === NODES.length || undefined;
    });
  }

  async function untilRefused(name: string): Promise<void> {
    await makeClaim(stage.config, namespace, name, '1Gi');
    await makePod(stage.config, namespace, name, { claim: name });
    await until('a pod is refused', HEARD_MS, async () => {
      const { status } = await stage.core.readNamespacedPod({ namespace, name });
      return status?.conditions?.some(({ message = '' }) => /beside what is reserved/.test(message)) || undefined;
    });
  }

  const untilBound = (name: string, withinMs: number): Promise<true> =>
    until('the pod runs', withinMs, async () => {
      const { spec } = await stage.core.readNamespacedPod({ namespace, name });
      return spec?.nodeName ? true : undefined;
    });

  beforeEach(() => provisioner.grow(GIB));

  it('runs soon after that promise has lapsed', async () => {
    await promise('gone');
    await untilRefused('next');
    await untilBound('next', PROMISED_MS + SOON_MS);
    assert.deepEqual([provisioner.made, provisioner.exhausted], [1, 0]);
  });

  it('runs soon after another extender answers, which knows nothing of either', async () => {
    await extender.stop();
    await answers();
    await promise('forgotten');
    await untilRefused('last');
    await extender.stop('SIGKILL');
    await answers();
    await untilBound('last', SOON_MS);
    assert.deepEqual([provisioner.made, provisioner.exhausted], [2, 0]);
  });

  it('is woken by an object that publishes nothing', async () => {
    const { items } = await stage.config.makeApiClient(StorageV1Api).listNamespacedCSIStorageCapacity({ namespace });
    const ours = items.filter(({ storageClassName }) => storageClassName === 'wake.nabustore.io');
    assert.equal(ours.length, 1);
    const [{ capacity, maximumVolumeSize, nodeTopology, metadata } = {}] = ours;
    assert.deepEqual([capacity, maximumVolumeSize, nodeTopology], [undefined, undefined, undefined]);
    assert.match(metadata?.annotations?.['nabustore.io/capacity-released-at'] ?? '', /^2\d{3}-/);
  });
});
