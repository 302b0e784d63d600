import assert from 'node:assert/strict';
import fc from 'fast-check';
import { deviceName, physicalName, slotDeviceName } from '../../../../device-plugin/dra/device-name.ts';

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

describe('the name of a device for claims', () => {
  it('is its PCI address as a DNS label, or its own name where that is one', () => {
    assert.equal(deviceName('rdma', '0000:18:00.0'), 'hca-0000-18-00-0');
    assert.equal(deviceName('gds', '10000:18:1f.7'), 'hca-10000-18-1f-7');
    assert.equal(deviceName('nvme-vfio', '0000:81:00.0'), 'nvme-0000-81-00-0');
    assert.equal(deviceName('rdma', 'rxe0'), 'hca-rxe0');
  });

  it('tells apart what would become one label', () => {
    const names = ['0000:18:00.0.mlx5_0', '0000:18:00.0.mlx5-0', '0000:18:00.0', 'a_b', 'a-b', 'A-b'];
    assert.equal(new Set(names.map((name) => deviceName('rdma', name))).size, names.length);
  });

  it('is a label, with any slot behind it too, and leads back to its device', () => {
    const device = fc.stringMatching(/^[A-Za-z0-9][\w.:-]{0,57}$/);
    fc.assert(
      fc.property(device, fc.integer({ min: 0, max: 999 }), (name, slot) => {
        const whole = deviceName('rdma', name);
        fc.pre(!/-slot-\d{1,4}$/.test(whole));
        assert.match(whole, LABEL);
        assert.match(slotDeviceName(whole, slot), LABEL);
        assert.equal(physicalName(slotDeviceName(whole, slot)), whole);
        assert.equal(physicalName(whole), whole);
      }),
    );
  });
});
