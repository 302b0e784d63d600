import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DraDriver } from '../../../../device-plugin/dra/index.ts';
import type { v1alpha1 } from '../../../../proto/gen/messages.js';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { allocated, type ClaimOptions, type Result } from '../../../support/claim-objects.ts';
import { type DraPool, DraRig } from '../../../support/dra-rig.ts';
import { KubeApiDouble } from '../../../support/kube-api-double.ts';
import { eventually } from '../../../support/kubelet-double.ts';
import { type Claim, KubeletDraDouble } from '../../../support/kubelet-dra-double.ts';

const DRIVER = 'devices.nabustore.io';
const HCA = 'hca-0000-1a-00-0';
const OTHER = 'hca-0000-3c-00-0';
const ADDRESS = '0000:1a:00.0';
const CLAIMS = '/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims';
const SLICES = '/apis/resource.k8s.io/v1/resourceslices';
const DOWN = { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' } as const;
const WAIT_MS = 5000;

/** A node with a driver that the kubelet has registered. */
class ClaimNode implements AsyncDisposable {
  readonly rig: DraRig;
  readonly api: KubeApiDouble;
  readonly kubelet: KubeletDraDouble;
  readonly pools: DraPool[] = [];
  driver: DraDriver;

  static async ofStorage(resource: Readonly<Record<string, unknown>>): Promise<ClaimNode> {
    const node = new ClaimNode(await KubeApiDouble.start(), new DraRig(MACHINES['storage-32nvme']));
    node.api.put('/api/v1/nodes', { metadata: { name: 'node-1' } });
    node.pools.push(await node.rig.pool(resource));
    await node.start();
    return node;
  }

  private constructor(api: KubeApiDouble, rig: DraRig) {
    this.api = api;
    this.rig = rig;
    this.kubelet = new KubeletDraDouble(rig.kubeletDir);
    this.driver = rig.driver(async () => api.access());
  }

  static async begin(...resources: readonly Readonly<Record<string, unknown>>[]): Promise<ClaimNode> {
    const node = new ClaimNode(await KubeApiDouble.start(), new DraRig(MACHINES['h200-8gpu']));
    node.api.put('/api/v1/nodes', { metadata: { name: 'node-1' } });
    for (const resource of resources.length > 0 ? resources : [{}]) {
      node.pools.push(await node.rig.pool({ kind: 'rdma', ...resource }));
    }
    await node.start();
    return node;
  }

  async start(): Promise<void> {
    await this.driver.start();
    for (const pool of this.pools) this.driver.serve(pool);
    await this.kubelet.register(DRIVER);
  }

  /** As a process that is killed and comes back. */
  async restart(between: () => void = () => undefined): Promise<void> {
    await this.driver.close();
    between();
    this.driver = this.rig.driver(async () => this.api.access());
    await this.start();
  }

  claim(name: string, results: readonly (string | Result)[], options?: ClaimOptions): Claim {
    const { object, claim } = allocated(name, results, options);
    this.api.put(CLAIMS, object);
    return claim;
  }

  get record(): string {
    return join(this.rig.paths.stateDir, 'dra', 'claims');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kubelet[Symbol.dispose]();
    await this.driver.close();
    await this.api[Symbol.asyncDispose]();
    this.rig[Symbol.dispose]();
  }
}

const OWN_PROTO =
  '{"apiVersion":"devices.nabustore.io/v1","kind":"CufileParameters","overrides":{"__proto__":{"x":1}}}';

describe('claims', () => {
  it('are prepared by a driver that registers as one of DRA v1, with health', async () => {
    await using node = await ClaimNode.begin();
    const { type, name, endpoint, supportedVersions } = node.kubelet.info ?? {};
    assert.deepEqual([type, name], ['DRAPlugin', DRIVER]);
    assert.deepEqual(supportedVersions, ['v1.DRAPlugin', 'v1alpha1.DRAResourceHealth']);
    assert.equal(endpoint, join(node.rig.kubeletDir, 'plugins', DRIVER, 'dra.sock'));
    assert.equal(node.driver.state.isRegistered, true);
  });

  it('get the device files of their HCA by a CDI spec, under the name of their request', async () => {
    await using node = await ClaimNode.begin();
    const uid = '5f0e8d52-1c84-4a55-8d70-0d8d4f1b7a11';
    const claim = node.claim('train', [{ device: HCA, request: 'hca/first' }], { uid });
    const devices = await node.kubelet.prepare(claim);
    assert.deepEqual(devices, [
      {
        requestNames: ['hca'],
        poolName: 'node-1',
        deviceName: HCA,
        cdiDeviceIds: [`nabustore.io/claim=${claim.uid}-0`],
      },
    ]);
    assert.deepEqual(node.rig.specs, [`nabustore.io-claim_${claim.uid}.json`]);
    assert.deepEqual(node.rig.spec(claim.uid), {
      cdiVersion: '0.5.0',
      kind: 'nabustore.io/claim',
      devices: [
        {
          name: `${claim.uid}-0`,
          containerEdits: {
            env: ['NABUSTORE_RDMA_DEVICES=mlx5_0', `NABUSTORE_RDMA_PCI_ADDRESSES=${ADDRESS}`],
            deviceNodes: [
              { path: '/dev/infiniband/uverbs0', permissions: 'rw' },
              { path: '/dev/infiniband/rdma_cm', permissions: 'rw' },
            ],
            mounts: [],
          },
        },
      ],
    });
    assert.deepEqual([...node.driver.holders.devices], [ADDRESS]);
  });

  it('name all of their devices to a container that has several', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA, OTHER]);
    await node.kubelet.prepare(claim);
    const text = JSON.stringify(node.rig.spec(claim.uid));
    assert.equal(text.split('NABUSTORE_RDMA_DEVICES=mlx5_0,mlx5_1').length - 1, 2);
  });

  it('are prepared as often as the kubelet asks, without the API server after the first time', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    const first = await node.kubelet.prepare(claim);
    node.api.fault = () => 503;
    node.pools[0]?.against(ADDRESS, DOWN);
    assert.deepEqual(await node.kubelet.prepare(claim), first);
    await node.restart();
    assert.deepEqual(await node.kubelet.prepare(claim), first);
  });

  it('are prepared again and end while the API server hangs at another', async () => {
    await using node = await ClaimNode.begin();
    const [known, ending, waiting] = [node.claim('known', [HCA]), node.claim('ending', [OTHER]), node.claim('new', [])];
    await node.kubelet.prepare(known);
    await node.kubelet.prepare(ending);
    let hangs = 0;
    node.api.fault = () => {
      hangs++;
      return 'hang';
    };
    const hanging = node.kubelet.prepare(waiting).catch(() => undefined);
    await eventually('it is asked for', () => hangs > 0, WAIT_MS);
    const sinceMs = performance.now();
    await node.kubelet.prepare(known);
    await node.kubelet.unprepare(ending);
    assert.ok(performance.now() - sinceMs < WAIT_MS);
    await node.api[Symbol.asyncDispose]();
    await hanging;
  });

  it('are made anew where their device files are of other devices now', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    await node.kubelet.prepare(claim);
    assert.match(JSON.stringify(node.rig.spec(claim.uid)), /uverbs0/);
    const machine = node.pools[0]?.machine;
    const [first, second, ...others] = machine?.inventory.hcas ?? [];
    assert.ok(machine !== undefined && first !== undefined && second !== undefined);
    const hcas = [{ ...first, uverbs: second.uverbs }, { ...second, uverbs: first.uverbs }, ...others];
    machine.inventory = { ...machine.inventory, hcas };
    await node.kubelet.prepare(claim);
    assert.match(JSON.stringify(node.rig.spec(claim.uid)), /uverbs1/);
    assert.doesNotMatch(JSON.stringify(node.rig.spec(claim.uid)), /uverbs0/);
    machine.inventory = { ...machine.inventory, hcas: [hcas[1] ?? second, ...others] };
    node.api.fault = () => 503;
    await node.kubelet.prepare(claim); // unplugged: as it was
  });

  it('leave nothing when they end, as often as they do', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    await node.kubelet.prepare(claim);
    for (let time = 0; time < 2; time++) await node.kubelet.unprepare(claim);
    assert.deepEqual(node.rig.specs, []);
    assert.deepEqual(readdirSync(node.record), []);
    assert.equal(node.driver.holders.devices.size, 0);
    assert.equal(await DraDriver.isNeeded(node.rig.paths), false);
  });

  it('keep their spec across a restart of the driver, and get back one that is gone', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    await node.kubelet.prepare(claim);
    const before = node.rig.spec(claim.uid);
    assert.equal(await DraDriver.isNeeded(node.rig.paths), true);
    await node.restart(() => rmSync(node.rig.paths.cdiDir, { recursive: true }));
    assert.deepEqual(node.rig.spec(claim.uid), before);
    await node.kubelet.unprepare(claim);
    assert.deepEqual(node.rig.specs, []);
  });

  it('are refused one by one, and the others prepared', async () => {
    await using node = await ClaimNode.begin();
    const good = node.claim('good', [HCA]);
    const bad = node.claim('bad', ['hca-0000-ff-00-0']);
    const gone = { ...allocated('gone', []).claim };
    const { claims } = await node.kubelet.plugin.nodePrepareResources(
      { claims: [bad, gone, good] },
      { timeoutMs: WAIT_MS },
    );
    assert.equal(claims[good.uid]?.error, '');
    assert.match(claims[bad.uid]?.error ?? '', /^CLAIM_REFUSED: claim ml\/bad .*no device hca-0000-ff-00-0/);
    assert.match(claims[gone.uid]?.error ?? '', /^KUBE_NOT_FOUND/);
  });

  const refusals: readonly [string, () => readonly (string | Result)[], ClaimOptions, RegExp][] = [
    ['of another node', () => [{ device: HCA, pool: 'node-2' }], {}, /pool node-2 is not that of this node, node-1/],
    ['that is not allocated', () => [], { isAllocated: false }, /it is not allocated/],
    [
      'with parameters that nobody knows',
      () => [HCA],
      { config: [{ source: 'FromClaim', opaque: { driver: DRIVER, parameters: { kind: 'Magic' } } }] },
      /parameters in the claim: apiVersion: .*known is devices.nabustore.io\/v1 CufileParameters/,
    ],
    [
      'with an override of a name that objects have by themselves',
      () => [HCA],
      { config: [{ source: 'FromClaim', opaque: { driver: DRIVER, parameters: JSON.parse(OWN_PROTO) } }] },
      /parameters in the claim: overrides\.__proto__: refused; known is/,
    ],
  ];
  for (const [what, results, options, message] of refusals) {
    it(`are refused: one ${what}`, async () => {
      await using node = await ClaimNode.begin();
      await assert.rejects(node.kubelet.prepare(node.claim('train', results(), options)), message);
      assert.deepEqual(node.rig.specs, []);
      assert.deepEqual(readdirSync(node.record), []);
    });
  }

  it('are refused when they were made anew under the same name', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    const stale = { ...claim, uid: '00000000-0000-4000-8000-000000000000' };
    await assert.rejects(node.kubelet.prepare(stale), /its uid is .*, the kubelet means 00000000/);
  });

  it('do not lead out of the folders by their uid', async () => {
    await using node = await ClaimNode.begin();
    for (const uid of ['../../etc', 'a/b', '.', 'x'.repeat(64)]) {
      await assert.rejects(
        node.kubelet.prepare({ namespace: 'ml', name: 'train', uid }),
        /INVALID_ARGUMENT: claim uid/,
      );
      await assert.rejects(node.kubelet.unprepare({ namespace: 'ml', name: 'train', uid }), /INVALID_ARGUMENT/);
    }
  });

  it('never share an HCA that is not shared, whatever the scheduler says', async () => {
    await using node = await ClaimNode.begin();
    await node.kubelet.prepare(node.claim('first', [HCA]));
    const second = node.claim('second', [HCA]);
    await assert.rejects(node.kubelet.prepare(second), /hca-0000-1a-00-0 has 1 slots, held by ml\/first/);
  });

  it('share an HCA by slots, no more of them than there are', async () => {
    await using node = await ClaimNode.begin({ slots: 4 });
    const share = (slots: string) => ({
      device: HCA,
      shareID: '7c1f4c58-6b07-4a5c-9d34-5d6a2e0a2f11',
      consumedCapacity: { 'nabustore.io/slots': slots },
    });
    const first = await node.kubelet.prepare(node.claim('first', [share('3')]));
    assert.equal(first[0]?.shareId, '7c1f4c58-6b07-4a5c-9d34-5d6a2e0a2f11');
    await node.kubelet.prepare(node.claim('second', [share('1')]));
    await assert.rejects(node.kubelet.prepare(node.claim('third', [share('1')])), /held by ml\/first, ml\/second/);
    // One that was published per slot, before the API server had shared capacity.
    await assert.rejects(node.kubelet.prepare(node.claim('fourth', [`${HCA}-slot-0`])), /held by/);
  });

  it('take an HCA whole where they were allocated it whole', async () => {
    await using node = await ClaimNode.begin({ slots: 4 });
    await node.kubelet.prepare(node.claim('whole', [HCA]));
    await assert.rejects(node.kubelet.prepare(node.claim('slot', [`${HCA}-slot-1`])), /held by ml\/whole/);
  });

  it('let an administrator look at a device that others hold, or that is unhealthy', async () => {
    await using node = await ClaimNode.begin();
    await node.kubelet.prepare(node.claim('train', [HCA]));
    node.pools[0]?.against(ADDRESS, DOWN);
    await node.kubelet.prepare(node.claim('watch', [{ device: HCA, adminAccess: true }]));
  });

  it('wait for an unhealthy device unless they tolerate its taint', async () => {
    await using node = await ClaimNode.begin();
    node.pools[0]?.against(ADDRESS, DOWN);
    const claim = node.claim('train', [HCA]);
    await assert.rejects(node.kubelet.prepare(claim), /0000:1a:00.0 is unhealthy: port 1 of mlx5_0 is DOWN/);
    const tolerations = [{ key: 'nabustore.io/unhealthy', operator: 'Equal', value: 'link', effect: 'NoSchedule' }];
    const brave = node.claim('brave', [{ device: HCA, tolerations }]);
    await node.kubelet.prepare(brave);
    await node.kubelet.unprepare(brave);
    node.pools[0]?.against(ADDRESS, undefined);
    await node.kubelet.prepare(claim);
  });

  it('are refused for a device file that is gone since the machine was last looked at', async () => {
    await using node = await ClaimNode.begin();
    node.rig.tree.remove('dev/infiniband/uverbs0');
    await assert.rejects(node.kubelet.prepare(node.claim('train', [HCA])), /DEVICE_UNUSABLE: .*uverbs0 is gone/);
    assert.deepEqual(node.rig.specs, []);
  });

  it('do not get a device that the device plugin still gives out', async () => {
    await using node = await ClaimNode.begin();
    node.pools[0]?.against(ADDRESS, { code: 'mode', detail: 'a pod still has it' });
    await assert.rejects(
      node.kubelet.prepare(node.claim('train', [{ device: HCA, adminAccess: true }])),
      /still has it/,
    );
  });

  it('get what a claim held that has ended without the kubelet saying so', async () => {
    await using node = await ClaimNode.begin();
    const lost = node.claim('lost', [HCA]);
    await node.kubelet.prepare(lost);
    node.api.remove(`${CLAIMS}/lost`);
    const next = node.claim('next', [HCA]);
    await node.kubelet.prepare(next);
    assert.deepEqual(node.rig.specs, [`nabustore.io-claim_${next.uid}.json`]);
  });

  it('do not lose each other by one record that cannot be read', async () => {
    await using node = await ClaimNode.begin();
    const [first, second] = [node.claim('first', [HCA]), node.claim('second', [OTHER])];
    for (const claim of [first, second]) await node.kubelet.prepare(claim);
    await node.restart(() => writeFileSync(join(node.record, `${first.uid}.json`), '{"version":1,"sha256":"x'));
    assert.deepEqual(node.driver.holders, { devices: new Set(['0000:3c:00.0']), isComplete: false });
    assert.equal(node.rig.specs.length, 2); // a container of the first may restart
    await node.kubelet.prepare(second);
    await node.kubelet.prepare(first);
    assert.deepEqual(node.driver.holders, { devices: new Set(['0000:3c:00.0', ADDRESS]), isComplete: true });
    for (const claim of [first, second]) await node.kubelet.unprepare(claim);
    assert.deepEqual(node.rig.specs, []);
  });

  it('of kind gds find a cufile.json for their HCA and the GPU of another driver beside it', async () => {
    await using node = await ClaimNode.begin({ kind: 'gds', version: '1.17', settings: {} });
    const attributes = { 'resource.kubernetes.io/pciBusID': { string: '0000:18:00.0' } };
    node.api.put(SLICES, {
      metadata: { name: 'gpus' },
      spec: {
        driver: 'gpu.example.com',
        nodeName: 'node-1',
        pool: { name: 'node-1', generation: 1, resourceSliceCount: 1 },
        devices: [{ name: 'gpu-x', attributes }],
      },
    });
    const claim = node.claim('train', [HCA, { device: 'gpu-x', driver: 'gpu.example.com', request: 'gpu' }]);
    assert.equal((await node.kubelet.prepare(claim)).length, 1);
    const cufile = JSON.parse(node.rig.file(claim.uid, 'cufile.json'));
    assert.deepEqual(cufile.properties.rdma_dev_addr_list, ['192.0.2.26']);
    assert.match(node.rig.file(claim.uid, 'NOTES'), /GPUs: 0000:18:00\.0\.$/m);
    const spec = JSON.stringify(node.rig.spec(claim.uid));
    assert.ok(spec.includes('CUFILE_ENV_PATH_JSON=/etc/nabustore/cufile/cufile.json'));
    const folder = `/var/lib/nabustore/device-plugin/dra/files/${claim.uid}`;
    assert.ok(spec.includes(`"hostPath":"${folder}","containerPath":"/etc/nabustore/cufile"`));
    await node.kubelet.unprepare(claim);
    assert.equal(existsSync(join(node.rig.paths.stateDir, 'dra', 'files', claim.uid)), false);
  });

  it('of kind gds without a GPU find a file for those of the NUMA node, which says so', async () => {
    await using node = await ClaimNode.begin({ kind: 'gds', version: '1.17' });
    const claim = node.claim('train', [HCA]);
    await node.kubelet.prepare(claim);
    assert.match(node.rig.file(claim.uid, 'NOTES'), /Note: the claim has no GPU: .*NUMA node 0/);
  });

  it('of kind gds may set keys of their cufile.json, and are told of a key that is none', async () => {
    await using node = await ClaimNode.begin({ kind: 'gds', version: '1.17' });
    const config = (overrides: object, source = 'FromClaim') => ({
      source,
      opaque: {
        driver: DRIVER,
        parameters: { apiVersion: 'devices.nabustore.io/v1', kind: 'CufileParameters', overrides },
      },
    });
    const claim = node.claim('train', [HCA], {
      config: [config({ logging: { level: 'DEBUG' } }), config({ logging: { level: 'TRACE' } }, 'FromClass')],
    });
    await node.kubelet.prepare(claim);
    assert.equal(JSON.parse(node.rig.file(claim.uid, 'cufile.json')).logging.level, 'DEBUG');
    const bad = node.claim('bad', [OTHER], { config: [config({ logging: { levl: 'DEBUG' } })] });
    await assert.rejects(node.kubelet.prepare(bad), /logging\.levl is not a key of cufile\.json/);
  });

  it('of kind nvme-vfio get the device files of VFIO', async () => {
    await using node = await ClaimNode.ofStorage({ kind: 'nvme-vfio' });
    const [unit] = node.pools[0]?.pool.units ?? [];
    assert.ok(unit !== undefined);
    const claim = node.claim('spdk', [`nvme-${unit.device.replace(/[:.]/g, '-')}`]);
    await node.kubelet.prepare(claim);
    assert.match(JSON.stringify(node.rig.spec(claim.uid)), /"path":"\/dev\/vfio\/vfio"/);
    assert.deepEqual([...node.driver.holders.devices], [unit.device]);
  });

  it('tell their pods how their devices are, at once and again before it is forgotten', async () => {
    await using node = await ClaimNode.begin({ slots: 2 });
    const messages: v1alpha1.NodeWatchResourcesResponse[] = [];
    const stop = new AbortController();
    const watching = node.kubelet.watchHealth(messages, stop.signal);
    const health = (name: string) => messages.at(-1)?.devices.find(({ device }) => device?.deviceName === name);
    await eventually('the first message', () => health(HCA)?.health === 1, WAIT_MS);
    node.pools[0]?.against(ADDRESS, DOWN);
    await eventually('it is unhealthy', () => health(HCA)?.health === 2, WAIT_MS);
    assert.match(health(`${HCA}-slot-1`)?.message ?? '', /^link: port 1 of mlx5_0 is DOWN/);
    assert.ok(Number(health(HCA)?.healthCheckTimeoutSeconds) >= 60);
    node.pools[0]?.against(ADDRESS, undefined);
    await eventually('it is healthy', () => health(HCA)?.health === 1, WAIT_MS);
    stop.abort();
    await watching;
  });

  it('find the sockets made again when somebody has removed them', async () => {
    await using node = await ClaimNode.begin();
    const claim = node.claim('train', [HCA]);
    await node.kubelet.prepare(claim);
    rmSync(join(node.rig.kubeletDir, 'plugins_registry'), { recursive: true });
    rmSync(node.kubelet.info?.endpoint ?? '');
    await node.kubelet.register(DRIVER);
    await eventually('the endpoint is there', () => existsSync(node.kubelet.info?.endpoint ?? ''), WAIT_MS);
    await node.kubelet.register(DRIVER);
    await node.kubelet.unprepare(claim);
  });
});
