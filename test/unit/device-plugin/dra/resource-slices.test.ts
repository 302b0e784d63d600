import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { DraDevice } from '../../../../device-plugin/dra/dra-device.ts';
import { draDevices } from '../../../../device-plugin/dra/dra-device.ts';
import { quantityOf } from '../../../../device-plugin/dra/quantity.ts';
import { degradations, resourceSlices } from '../../../../device-plugin/dra/resource-slices.ts';
import { deviceId, resourceName } from '../../../../device-plugin/kubelet/index.ts';
import { MACHINES } from '../../../fixtures/machines/index.ts';
import { DraRig } from '../../../support/dra-rig.ts';

const ALL = { taints: true, sharing: true };
const NONE = { taints: false, sharing: false };
const RESOURCE = resourceName('nabustore.io/rdma');

function device(at: number, { slots = 1, isHealthy = true } = {}): DraDevice {
  const name = `hca-${at}`;
  return {
    name,
    device: name,
    resource: RESOURCE,
    kind: 'rdma',
    units: Array.from({ length: slots }, (_, slot) => ({
      id: deviceId(`${name}-${slot}`),
      device: name,
      numaNodes: [],
      pcieRoot: null,
      causes: [],
    })),
    attributes: {},
    isHealthy,
    causes: isHealthy ? [] : [{ code: 'link', detail: 'down' }],
  };
}

const options = (features = ALL) => ({ nodeName: 'node-1', features, generation: 3 });
const sizes = (devices: readonly DraDevice[], features = ALL): number[] =>
  resourceSlices(devices, options(features)).map((slice) => slice.devices.length);

describe('resource slices', () => {
  it('say of an HCA on the recorded H200 node what claims choose by', async () => {
    using rig = new DraRig(MACHINES['h200-8gpu']);
    const pool = await rig.pool({ kind: 'rdma', slots: 4, select: { linkLayers: ['InfiniBand'] } });
    const [slice, ...more] = resourceSlices(draDevices(pool), options());
    assert.equal(more.length, 0);
    assert.deepEqual(
      slice?.devices.map(({ name }) => name),
      ['hca-0000-1a-00-0', 'hca-0000-3c-00-0', 'hca-0000-9c-00-0', 'hca-0000-bc-00-0'],
    );
    assert.deepEqual(slice?.devices[0], {
      name: 'hca-0000-1a-00-0',
      attributes: {
        'nabustore.io/kind': { string: 'rdma' },
        'nabustore.io/resource': { string: 'nabustore.io/rdma' },
        'resource.kubernetes.io/pcieRoot': { string: 'pci0000:15' },
        'resource.kubernetes.io/pciBusID': { string: '0000:1a:00.0' },
        'nabustore.io/vendor': { string: '15b3' },
        'nabustore.io/product': { string: '1021' },
        'nabustore.io/driver': { string: 'mlx5_core' },
        'nabustore.io/numaNode': { int: 0 },
        'nabustore.io/iommuGroup': { int: 22 },
        'nabustore.io/rdmaDevice': { string: 'mlx5_0' },
        'nabustore.io/netDevice': { string: 'ibp26s0' },
        'nabustore.io/linkLayer': { string: 'InfiniBand' },
        'nabustore.io/firmware': { string: '28.43.1014' },
        'nabustore.io/rate': { int: 400 },
        'nabustore.io/ports': { int: 1 },
        'nabustore.io/firmwareVersion': { version: '28.43.1014' },
      },
      allowMultipleAllocations: true,
      capacity: {
        'nabustore.io/slots': { value: '4', requestPolicy: { default: '1', validRange: { min: '1', step: '1' } } },
      },
    });
    assert.deepEqual(slice?.pool, { name: 'node-1', generation: 3, resourceSliceCount: 1 });
    assert.equal(slice?.driver, 'devices.nabustore.io');
    assert.equal(slice?.nodeName, 'node-1');
  });

  it('say of an HCA with cuFile how cuFile goes here', async () => {
    using rig = new DraRig(MACHINES['h200-8gpu']);
    const pool = await rig.pool({ kind: 'gds', version: '1.17', select: { linkLayers: ['InfiniBand'] } });
    const [first] = draDevices(pool);
    assert.deepEqual(first?.attributes['nabustore.io/gdsMode'], { string: 'nvidia-fs' });
    assert.deepEqual(first?.attributes['nabustore.io/cufileVersion'], { string: '1.17' });
  });

  it('say how many slots there are as the API server would, so that it keeps what it is sent', () => {
    const [slice] = resourceSlices([device(0, { slots: 1000 }), device(1, { slots: 999 })], options());
    const values = slice?.devices.map(({ capacity }) => capacity?.['nabustore.io/slots']?.value);
    assert.deepEqual(values, ['1k', '999']);
    assert.deepEqual(['1k', '999', '0', '2e3', '1.5', '-1', ''].map(quantityOf), [
      1000,
      999,
      0,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('give a device that is not shared to one claim: no capacity, no second allocation', () => {
    const [slice] = resourceSlices([device(0)], options());
    assert.deepEqual(slice?.devices, [{ name: 'hca-0', attributes: {} }]);
  });

  it('hold 128 devices each, 64 where one of them is tainted', () => {
    const many = Array.from({ length: 300 }, (_, at) => device(at));
    assert.deepEqual(sizes(many), [128, 128, 44]);
    assert.deepEqual(sizes(many.with(130, device(130, { isHealthy: false }))), [128, 64, 108]);
    assert.deepEqual(sizes(many.with(127, device(127, { isHealthy: false }))), [127, 64, 109]);
  });

  it('taint an unhealthy device with its first cause', () => {
    const [slice] = resourceSlices([device(0, { isHealthy: false })], options());
    assert.deepEqual(slice?.devices[0]?.taints, [
      { key: 'nabustore.io/unhealthy', value: 'link', effect: 'NoSchedule' },
    ]);
  });

  it('leave an unhealthy device out where taints are dropped, and say so', () => {
    assert.deepEqual(sizes([device(0), device(1, { isHealthy: false })], { ...ALL, taints: false }), [1]);
    assert.match(degradations({ ...ALL, taints: false }).join(), /DRADeviceTaints is off/);
  });

  it('publish a device of four slots four times where shared capacity is dropped, and say so', () => {
    const [slice] = resourceSlices([device(0, { slots: 4 })], options(NONE));
    assert.deepEqual(
      slice?.devices.map(({ name, attributes }) => [name, attributes['nabustore.io/slot']]),
      [0, 1, 2, 3].map((slot) => [`hca-0-slot-${slot}`, { int: slot }]),
    );
    assert.ok(slice?.devices.every((one) => one.capacity === undefined && one.allowMultipleAllocations === undefined));
    assert.match(degradations({ ...ALL, sharing: false }).join(), /DRAConsumableCapacity is off/);
  });

  it('are one empty slice for a node without devices: the driver is there', () => {
    assert.deepEqual(sizes([]), [0]);
  });

  it('leave out a device that is gone, or that the device plugin gives out', () => {
    const out = (code: 'absent' | 'mode'): DraDevice => ({
      ...device(0),
      isHealthy: false,
      causes: [{ code, detail: '' }],
    });
    assert.deepEqual(sizes([out('absent'), out('mode')]), [0]);
  });

  it('are valid for every mixture of devices: names once, counts right, lists no longer than they may be', () => {
    const devices = fc.array(fc.record({ slots: fc.integer({ min: 1, max: 9 }), isHealthy: fc.boolean() }), {
      maxLength: 400,
    });
    const features = fc.record({ taints: fc.boolean(), sharing: fc.boolean() });
    fc.assert(
      fc.property(devices, features, (given, kept) => {
        const all = given.map((one, at) => device(at, one));
        const slices = resourceSlices(all, options(kept));
        const names = slices.flatMap((slice) => slice.devices.map(({ name }) => name));
        assert.equal(new Set(names).size, names.length);
        for (const slice of slices) {
          const limit = slice.devices.some(({ taints }) => taints !== undefined) ? 64 : 128;
          assert.ok(slice.devices.length <= limit);
          assert.equal(slice.pool.resourceSliceCount, slices.length);
        }
        const expected = all
          .filter(({ isHealthy }) => isHealthy || kept.taints)
          .reduce((sum, one) => sum + (kept.sharing ? 1 : one.units.length), 0);
        assert.equal(names.length, expected);
      }),
      { numRuns: 100 },
    );
  });
});
