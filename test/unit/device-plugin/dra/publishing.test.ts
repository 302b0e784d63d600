import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { createLogger } from '../../../../common/logging/index.ts';
import type { DraDriver } from '../../../../device-plugin/dra/index.ts';
import type { KubeAccess } from '../../../../device-plugin/kube-api/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { type DraPool, DraRig } from '../../../support/dra-rig.ts';
import { KubeApiDouble, type KubeObject } from '../../../support/kube-api-double.ts';
import { eventually } from '../../../support/kubelet-double.ts';

const WAIT_MS = 5000;
const SLICES = '/apis/resource.k8s.io/v1/resourceslices';
const HCA = '0000:1a:00.0';
const DOWN = { code: 'link', detail: 'port 1 of mlx5_0 is DOWN' } as const;

type Device = {
  readonly name: string;
  readonly taints?: readonly { readonly key: string; readonly value: string; readonly timeAdded: string }[];
  readonly allowMultipleAllocations?: boolean;
};

function devicesOf(slice: KubeObject | undefined): readonly Device[] {
  return Reflect.get(Object(slice?.spec), 'devices') as readonly Device[];
}

function poolOf(slice: KubeObject | undefined): { readonly generation: number; readonly resourceSliceCount: number } {
  return Reflect.get(Object(slice?.spec), 'pool') as { generation: number; resourceSliceCount: number };
}

/** An API server, a node of it, and a driver with one resource. */
class Publishing implements AsyncDisposable {
  readonly api: KubeApiDouble;
  readonly rig: DraRig;
  readonly lines: string[] = [];
  driver: DraDriver;
  pool: DraPool | undefined;

  private constructor(api: KubeApiDouble, rig: DraRig) {
    this.api = api;
    this.rig = rig;
    this.driver = this.make(async () => api.access());
  }

  static async begin(resource: Readonly<Record<string, unknown>> = {}, hasNode = true): Promise<Publishing> {
    const publishing = new Publishing(await KubeApiDouble.start(), new DraRig(MACHINES['h200-8gpu']));
    if (hasNode) publishing.addNode();
    const select = { linkLayers: ['InfiniBand'] };
    publishing.pool = await publishing.rig.pool({ kind: 'rdma', select, ...resource });
    return publishing;
  }

  addNode(): void {
    this.api.put('/api/v1/nodes', { metadata: { name: this.rig.nodeName } });
  }

  make(access: () => Promise<KubeAccess>, callMs = 2000): DraDriver {
    const stream = new PassThrough();
    stream.setEncoding('utf8').on('data', (text: string) => this.lines.push(...text.split('\n')));
    const logger = createLogger({ stream });
    const publisher = { gatherMs: 5, firstPauseMs: 10, mostPauseMs: 100, callMs };
    return this.rig.driver(access, { logger, limits: { lookMs: 50, publisher } });
  }

  async start(): Promise<void> {
    await this.driver.start();
    assert.ok(this.pool !== undefined);
    this.driver.serve(this.pool);
  }

  async untilPublished(expected: readonly string[], seen?: () => unknown): Promise<readonly Device[]> {
    const names = (): string[] => this.api.slices.flatMap((slice) => devicesOf(slice).map(({ name }) => name));
    await eventually('the devices are published', () => names().join() === expected.join(), WAIT_MS, seen ?? names);
    return this.api.slices.flatMap(devicesOf);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver.close();
    await this.api[Symbol.asyncDispose]();
    this.rig[Symbol.dispose]();
  }
}

const HCAS = ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'];

describe('publishing devices', () => {
  it('makes a slice that goes with its node', async () => {
    await using node = await Publishing.begin();
    await node.start();
    await node.untilPublished(HCAS);
    const [slice] = node.api.slices;
    assert.equal(slice?.metadata.name, '000-devices.nabustore.io-node-1');
    assert.match(
      JSON.stringify(slice?.metadata.ownerReferences),
      /"kind":"Node","name":"node-1","uid":"[0-9a-f-]{36}"/,
    );
    await eventually('the state says so', () => node.driver.state.isPublished, WAIT_MS);
    assert.deepEqual(node.driver.state.features, { taints: true, sharing: true });
  });

  it('taints a device that turns unhealthy and takes the taint away, in the same generation', async () => {
    await using node = await Publishing.begin();
    await node.start();
    await node.untilPublished(HCAS);
    const { generation } = poolOf(node.api.slices[0]);
    const taint = (): string | undefined => devicesOf(node.api.slices[0])[0]?.taints?.[0]?.value;
    node.pool?.against(HCA, DOWN);
    await eventually('it is tainted', () => taint() === 'link', WAIT_MS);
    node.pool?.against(HCA, undefined);
    await eventually('it is not tainted', () => taint() === undefined, WAIT_MS);
    assert.equal(poolOf(node.api.slices[0]).generation, generation);
  });

  it('makes the slices again that a starting kubelet has deleted', async () => {
    await using node = await Publishing.begin();
    await node.start();
    await node.untilPublished(HCAS);
    await eventually('the slices are watched', () => node.api.watchers >= 2, WAIT_MS);
    node.api.wipeSlices();
    await node.untilPublished(HCAS);
  });

  it('puts right what somebody else changed, and does not write when nothing changes', async () => {
    await using node = await Publishing.begin();
    await node.start();
    await node.untilPublished(HCAS);
    await eventually('the slices are watched', () => node.api.watchers >= 2, WAIT_MS);
    const [slice] = node.api.slices;
    assert.ok(slice !== undefined);
    const { spec } = slice;
    node.api.put(SLICES, { ...slice, spec: { ...Object(spec), devices: [] } });
    await node.untilPublished(HCAS);
    const writes = node.api.count('PUT') + node.api.count('POST');
    await node.driver.close();
    node.driver = node.make(async () => node.api.access());
    await node.start();
    await eventually('it is published', () => node.driver.state.isPublished, WAIT_MS);
    // One more POST: the dry run that asks what the server keeps.
    assert.equal(node.api.count('PUT') + node.api.count('POST'), writes + 1);
  });

  it('takes away slices of ours that are not wanted, and leaves those of others', async () => {
    await using node = await Publishing.begin();
    const pool = { name: 'node-1', generation: 7, resourceSliceCount: 1 };
    const other = { driver: 'gpu.nvidia.com', nodeName: 'node-1', pool, devices: [] };
    node.api.put(SLICES, { metadata: { name: 'gpus' }, spec: other });
    node.api.put(SLICES, { metadata: { name: 'old' }, spec: { ...other, driver: 'devices.nabustore.io' } });
    await node.start();
    await node.untilPublished(HCAS.concat());
    assert.deepEqual(
      node.api.slices.map(({ metadata }) => metadata.name),
      ['000-devices.nabustore.io-node-1', 'gpus'],
    );
    assert.equal(poolOf(node.api.slices[0]).generation, 8);
  });

  it('tries again after conflicts, failures, cut connections and calls that hang', async () => {
    await using node = await Publishing.begin();
    const faults = [409, 500, 'cut', 'hang', 429, 503] as const;
    let at = 0;
    node.api.fault = ({ method }) => (method === 'POST' || method === 'PUT' ? faults[at++] : undefined);
    node.driver = node.make(async () => node.api.access(), 200);
    await node.start();
    await node.untilPublished(HCAS);
    assert.ok(at > faults.length);
  });

  it('waits for a node that is not there yet, and says what it waits for', async () => {
    await using node = await Publishing.begin({}, false);
    await node.start();
    await eventually('it says why', () => node.driver.state.cause?.startsWith('KUBE_NOT_FOUND') === true, WAIT_MS);
    assert.equal(node.driver.state.isPublished, false);
    node.addNode();
    await node.untilPublished(HCAS);
  });

  it('says once what it is not permitted to do', async () => {
    await using node = await Publishing.begin();
    node.api.fault = ({ path }) => (path.startsWith(SLICES) ? 403 : undefined);
    await node.start();
    await eventually('several attempts', () => node.api.count('POST') >= 3, WAIT_MS);
    assert.match(node.driver.state.cause ?? '', /^PERMISSION_DENIED/);
    const said = node.lines.filter((line) => line.includes('resource slices are not published'));
    assert.equal(said.length, 1);
  });

  describe('to an API server without the beta features, as 1.34', () => {
    it('publishes a shared device once per slot, leaves an unhealthy one out, and says both', async () => {
      await using node = await Publishing.begin({ slots: 2 });
      node.api.features = { taints: false, sharing: false };
      await node.start();
      const slots = HCAS.flatMap((name) => [`${name}-slot-0`, `${name}-slot-1`]);
      const devices = await node.untilPublished(slots);
      assert.ok(devices.every((device) => device.allowMultipleAllocations === undefined));
      assert.deepEqual(node.driver.state.features, { taints: false, sharing: false });
      assert.equal(
        node.lines.filter((line) => /DRADeviceTaints is off|DRAConsumableCapacity is off/.test(line)).length,
        2,
      );
      node.pool?.against(HCA, DOWN);
      await node.untilPublished(slots.slice(2));
    });

    it('never has written what would be dropped', async () => {
      await using node = await Publishing.begin({ slots: 2 });
      node.api.features = { taints: false, sharing: false };
      await node.start();
      await node.untilPublished(HCAS.flatMap((name) => [`${name}-slot-0`, `${name}-slot-1`]));
      assert.equal(poolOf(node.api.slices[0]).generation, 1);
    });

    it('learns from what came back where dry runs are refused', async () => {
      await using node = await Publishing.begin({ slots: 2 });
      node.api.features = { taints: false, sharing: false };
      node.api.fault = ({ query }) => (query.dryRun === 'All' ? 400 : undefined);
      await node.start();
      await node.untilPublished(HCAS.flatMap((name) => [`${name}-slot-0`, `${name}-slot-1`]));
      assert.deepEqual(node.driver.state.features, { taints: true, sharing: false });
    });

    it('learns from what came back when one server of several drops what another kept', async () => {
      await using node = await Publishing.begin({ slots: 2 });
      node.api.fault = ({ query, method }) => {
        if (method === 'POST' && query.dryRun === undefined) node.api.features = { taints: false, sharing: false };
        return undefined;
      };
      await node.start();
      await node.untilPublished(HCAS.flatMap((name) => [`${name}-slot-0`, `${name}-slot-1`]));
      assert.deepEqual(node.driver.state.features, { taints: true, sharing: false });
    });
  });

  it('does not write again and again what a server keeps otherwise', async () => {
    await using node = await Publishing.begin();
    node.api.amend = ({ spec }) => {
      for (const device of devicesOf({ metadata: { name: '' }, spec })) Reflect.set(device, 'defaulted', true);
    };
    await node.start();
    await node.untilPublished(HCAS);
    await eventually('it is published', () => node.driver.state.isPublished, WAIT_MS);
    await eventually('the slices are watched', () => node.api.watchers >= 2, WAIT_MS);
    const writes = (): number => node.api.count('PUT') + node.api.count('POST');
    const before = writes();
    // An event of the watch makes it look again.
    const [slice] = node.api.slices;
    assert.ok(slice !== undefined);
    const lists = node.api.count('GET');
    node.api.put(SLICES, slice);
    await eventually('it has looked', () => node.api.count('GET') > lists, WAIT_MS);
    assert.equal(writes(), before);
    node.pool?.against(HCA, DOWN);
    await eventually('a change is written', () => writes() > before, WAIT_MS);
  });

  it('stops within a moment while the API server hangs', async () => {
    await using node = await Publishing.begin();
    node.api.fault = () => 'hang';
    await node.start();
    await eventually('it calls', () => node.api.calls.length > 0, WAIT_MS);
    const beforeMs = performance.now();
    await node.driver.close();
    assert.ok(performance.now() - beforeMs < 1500);
  });

  it('tells which names device classes map to claims, as they change', async () => {
    await using node = await Publishing.begin();
    await node.start();
    const classes = '/apis/resource.k8s.io/v1/deviceclasses';
    await eventually('classes are watched', () => node.api.watchers >= 2, WAIT_MS);
    const mapped = (): string => JSON.stringify([...node.driver.mappedNames]);
    let heard = 0;
    node.driver.watchMappedNames(() => heard++);
    node.api.put(classes, { metadata: { name: 'rdma' }, spec: { extendedResourceName: 'nabustore.io/rdma' } });
    node.api.put(classes, { metadata: { name: 'gpu' }, spec: { extendedResourceName: 'nvidia.com/gpu' } });
    await eventually('it is mapped', () => mapped() === '[["nabustore.io/rdma","rdma"]]', WAIT_MS, mapped);
    node.api.remove(`${classes}/rdma`);
    await eventually('it is not mapped', () => mapped() === '[]', WAIT_MS, mapped);
    assert.ok(heard >= 2);
  });
});
