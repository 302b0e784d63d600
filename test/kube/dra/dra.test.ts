import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { SeededRandom } from '../../../common/ports/index.ts';
import type { Inventory } from '../../../device-plugin/discovery/index.ts';
import { DRIVER_NAME } from '../../../device-plugin/dra/index.ts';
import type { KubeCluster } from '../cluster/index.ts';
import { until } from '../host/until.ts';
import { Namespace, pod } from '../pods/index.ts';
import { sharedCluster } from '../shared.ts';
import { ClaimNode } from './claim-node.ts';
import { Claims, claim, gpuAndHca, HCA_CLASS, podWith } from './claims.ts';
import { GPU_CLASS, GPU_DRIVER } from './gpu-driver.ts';

const INFINIBAND = { linkLayers: ['InfiniBand'] };
const HCAS = ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'];
const HCA = { deviceClassName: HCA_CLASS };
const GPU = { deviceClassName: GPU_CLASS };
const FIRST = '0000:1a:00.0';
const END_MS = 60_000;
/** Of the walk of claims that come and go. */
const SEED = 4;
const STEPS = 60;
const LEAVE_SHARE = 0.3;
const WALK_MS = 600_000;

describe('claims on a real API server, scheduler and kubelet', () => {
  let cluster: KubeCluster;

  before(async function () {
    cluster = await sharedCluster(this);
  });

  /** CDI specs of ours that the runtime sees. */
  const specs = async (): Promise<readonly string[]> =>
    (await readdir(cluster.cdiDir)).filter((name) => name.startsWith('nabustore.io-claim_'));

  describe('for HCAs, each for one claim', () => {
    let node: ClaimNode;

    before(async () => {
      node = await ClaimNode.start(cluster, [{ kind: 'rdma', select: INFINIBAND }]);
    });
    after(async () => {
      await node?.[Symbol.asyncDispose]();
    });

    it('find them published', async () => {
      assert.deepEqual(await node.devices(), HCAS);
    });

    it('find an empty pool while the node has nothing for claims', async () => {
      for (const { pool } of node.pools) await node.driver.withdraw(pool.resource);
      await node.untilDevices([]);
      assert.equal((await node.slices()).length, 1);
      for (const pool of node.pools) node.driver.serve(pool);
      await node.untilDevices(HCAS);
    });

    it('run an unprivileged pod that sees its HCA and no other, and leave nothing', async () => {
      await using namespace = await Namespace.make(cluster);
      const claims = new Claims(cluster, namespace);
      await claims.create(gpuAndHca('train'));
      await namespace.create(podWith('train'));
      await namespace.untilReady('train');
      const { [DRIVER_NAME]: device = '' } = await claims.untilAllocated('train');
      const at = HCAS.indexOf(device);
      assert.equal(await namespace.exec('train', 'ls', '/dev/infiniband'), `rdma_cm\nuverbs${at}\n`);
      assert.equal(await namespace.exec('train', '/bin/sh', '-c', 'echo $NABUSTORE_RDMA_DEVICES'), `mlx5_${at}\n`);
      const { uid } = (await claims.read('train')).metadata;
      assert.deepEqual(await specs(), [`nabustore.io-claim_${uid}.json`]);
      await namespace.remove('train');
      await until('the claim to be unprepared', END_MS, async () =>
        (await specs()).length === 0 && node.driver.holders.devices.size === 0 ? true : undefined,
      );
    });

    it('keep a pod running while the driver is away and while the kubelet restarts, and run the next', async () => {
      await using namespace = await Namespace.make(cluster);
      const claims = new Claims(cluster, namespace);
      await claims.create(claim('stay', [HCA]));
      await namespace.create(podWith('stay'));
      const { uid } = (await namespace.untilReady('stay')).metadata ?? {};
      await node.stop();
      await cluster.restartKubelet();
      await node.start();
      await node.untilDevices(HCAS);
      // Another pod of the same claim: the kubelet asks for it to be prepared anew.
      await namespace.create(podWith('stay', {}, 'joins'));
      await namespace.untilReady('joins');
      const pod = await namespace.read('stay');
      assert.equal(pod.metadata?.uid, uid);
      assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0);
      assert.equal((await specs()).length, 1);
      for (const name of ['stay', 'joins']) await namespace.remove(name);
      await until('the claim to be unprepared', END_MS, async () => ((await specs()).length === 0 ? true : undefined));
    });

    it('wait, with a readable reason, for an HCA that is unhealthy, and run when it is well', async () => {
      await using namespace = await Namespace.make(cluster);
      const claims = new Claims(cluster, namespace);
      const cel = { expression: `device.attributes['resource.kubernetes.io'].pciBusID == '${FIRST}'` };
      await claims.create(claim('picky', [{ ...HCA, selectors: [{ cel }] }]));
      node.pools[0]?.against(FIRST, { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' });
      await until('the taint', END_MS, async () =>
        JSON.stringify(await node.slices()).includes('nabustore.io/unhealthy') ? true : undefined,
      );
      await namespace.create(podWith('picky'));
      assert.match(await namespace.untilUnschedulable('picky'), /cannot allocate all claims/);
      node.pools[0]?.against(FIRST, undefined);
      await namespace.untilReady('picky');
      // The pod says how its device is, and goes on.
      node.pools[0]?.against(FIRST, { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' });
      await until('the pod to say so', END_MS, async () => {
        const { status } = await namespace.read('picky');
        const text = JSON.stringify(status?.containerStatuses?.[0]?.allocatedResourcesStatus ?? []);
        return text.includes('Unhealthy') && text.includes('port 1 of mlx5_0 is DOWN') ? true : undefined;
      });
      node.pools[0]?.against(FIRST, undefined);
      await namespace.remove('picky');
    });

    it('are made by the scheduler for a pod that asks for nabustore.io/rdma as for any resource', async () => {
      await using namespace = await Namespace.make(cluster);
      const limits = { cpu: '10m', memory: '16Mi', 'nabustore.io/rdma': '1' };
      await namespace.create(pod('plain', { resources: { limits } }));
      await namespace.untilReady('plain');
      assert.match(await namespace.exec('plain', 'ls', '/dev/infiniband'), /^rdma_cm\nuverbs\d\n$/);
      await until('the name to be known as mapped', END_MS, async () =>
        node.driver.mappedNames.get('nabustore.io/rdma') === 'rdma-extended.nabustore.io' ? true : undefined,
      );
      await namespace.remove('plain');
    });
  });

  describe('for a GPU and an HCA', () => {
    let node: ClaimNode;
    let machine: Inventory;

    before(async () => {
      node = await ClaimNode.start(cluster, [{ kind: 'rdma', select: INFINIBAND }]);
      machine = await node.rig.inventory();
    });
    after(async () => {
      await node?.[Symbol.asyncDispose]();
    });

    const rootOf = (driver: string, device: string): string | null | undefined => {
      if (driver === GPU_DRIVER) return machine.gpus[Number(device.replace('gpu-', ''))]?.pci.pcieRoot;
      const hcas = machine.hcas.filter(({ pci }) => HCAS.includes(`hca-${pci?.address.replace(/[:.]/g, '-')}`));
      return hcas[HCAS.indexOf(device)]?.pci?.pcieRoot;
    };

    it('land on one PCIe root whenever one is free, and wait when none is', async function () {
      this.timeout(WALK_MS);
      await using namespace = await Namespace.make(cluster);
      const claims = new Claims(cluster, namespace);
      const random = new SeededRandom(SEED);
      const held = new Map<string, Readonly<Record<string, string>>>();
      const outcomes = { together: 0, waited: 0 };
      for (let step = 0; step < STEPS; step++) {
        const names = [...held.keys()];
        if (names.length > 0 && random.float() < LEAVE_SHARE) {
          const name = names[Math.floor(random.float() * names.length)] ?? '';
          await namespace.remove(name);
          await claims.remove(name);
          held.delete(name);
          continue;
        }
        const kind = (['gpu', 'hca', 'both', 'both'] as const)[random.uint32() % 4] ?? 'both';
        const name = `${kind}-${step}`;
        const isPossible = isFree(kind, held);
        const requests = kind === 'both' ? [GPU, HCA] : [kind === 'gpu' ? GPU : HCA];
        await claims.create(claim(name, requests, { aligned: kind === 'both' }));
        await namespace.create(podWith(name));
        if (!isPossible) {
          assert.match(await namespace.untilUnschedulable(name), /cannot allocate all claims/);
          await namespace.remove(name);
          await claims.remove(name);
          if (kind === 'both') outcomes.waited++;
          continue;
        }
        const devices = await claims.untilAllocated(name);
        held.set(name, devices);
        const roots = Object.entries(devices).map(([driver, device]) => rootOf(driver, device));
        assert.equal(roots.length, requests.length);
        assert.equal(new Set(roots).size, 1, `${name}: ${JSON.stringify(devices)} on ${roots.join(' and ')}`);
        assert.ok(roots[0]?.startsWith('pci'));
        if (kind === 'both') outcomes.together++;
      }
      assert.ok(outcomes.together >= 5 && outcomes.waited >= 2, JSON.stringify(outcomes));
    });

    /** Whether what is not held holds one of the kind, for both: behind one root. */
    const isFree = (
      kind: 'gpu' | 'hca' | 'both',
      held: ReadonlyMap<string, Readonly<Record<string, string>>>,
    ): boolean => {
      const taken = [...held.values()].flatMap((devices) => Object.values(devices));
      const gpus = [...machine.gpus.keys()].map((at) => `gpu-${at}`).filter((name) => !taken.includes(name));
      const hcas = HCAS.filter((name) => !taken.includes(name));
      if (kind !== 'both') return (kind === 'gpu' ? gpus : hcas).length > 0;
      const roots = new Set(gpus.map((name) => rootOf(GPU_DRIVER, name)));
      return hcas.some((name) => roots.has(rootOf(DRIVER_NAME, name)));
    };
  });

  describe('for shared HCAs with cuFile', () => {
    let node: ClaimNode;

    before(async () => {
      node = await ClaimNode.start(cluster, [{ kind: 'gds', version: '1.17', slots: 2, select: INFINIBAND }]);
    });
    after(async () => {
      await node?.[Symbol.asyncDispose]();
    });

    it('share one HCA by its slots, no more, each with a cufile.json that names it and its GPU', async () => {
      await using namespace = await Namespace.make(cluster);
      const claims = new Claims(cluster, namespace);
      const gds = { deviceClassName: 'gds.nabustore.io' };
      const cel = { expression: `device.attributes['resource.kubernetes.io'].pciBusID == '${FIRST}'` };
      const first = { ...gds, selectors: [{ cel }] };
      for (const name of ['one', 'two', 'three']) {
        await claims.create(claim(name, [first, GPU], { aligned: true }));
        await namespace.create(podWith(name));
        if (name === 'three') assert.match(await namespace.untilUnschedulable(name), /cannot allocate all claims/);
        else await namespace.untilReady(name);
      }
      for (const name of ['one', 'two']) {
        const path = (await namespace.exec(name, '/bin/sh', '-c', 'echo $CUFILE_ENV_PATH_JSON')).trim();
        const file = JSON.parse(await namespace.exec(name, 'cat', path));
        assert.deepEqual(file.properties.rdma_dev_addr_list, ['192.0.2.26']);
        const { [GPU_DRIVER]: gpu } = await claims.untilAllocated(name);
        const notes = await namespace.exec(name, 'cat', path.replace('cufile.json', 'NOTES'));
        const machine = await node.rig.inventory();
        const address = machine.gpus[Number(gpu?.replace('gpu-', ''))]?.pci.address ?? 'no GPU';
        assert.ok(notes.includes(`GPUs: ${address}.`), notes);
      }
      for (const name of ['one', 'two', 'three']) await namespace.remove(name);
      await until('the claims to be unprepared', END_MS, async () => ((await specs()).length === 0 ? true : undefined));
    });
  });
});
