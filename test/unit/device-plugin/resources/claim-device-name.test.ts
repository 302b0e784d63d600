import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  claimDeviceName,
  physicalName,
  slotDeviceName,
} from '../../../../device-plugin/resources/claim-device-name.ts';

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

describe('the name of a device for claims', () => {
  it('is its PCI address as a DNS label, or its own name where that is one', () => {
    assert.equal(claimDeviceName('rdma', '0000:18:00.0'), 'hca-0000-18-00-0');
    assert.equal(claimDeviceName('gds', '10000:18:1f.7'), 'hca-10000-18-1f-7');
    assert.equal(claimDeviceName('nvme-vfio', '0000:81:00.0'), 'nvme-0000-81-00-0');
    assert.equal(claimDeviceName('rdma', 'rxe0'), 'hca-rxe0');
  });

  it('tells apart what would become one label', () => {
    const names = ['0000:18:00.0.mlx5_0', '0000:18:00.0.mlx5-0', '0000:18:00.0', 'a_b', 'a-b', 'A-b'];
    assert.equal(new Set(names.map((name) => claimDeviceName('rdma', name))).size, names.length);
  });

  it('never ends as that of a slot does, so that it leads back to its device', () => {
    for (const device of ['rxe-slot-1', 'rxe_slot_1', 'slot-9999', 'slot-1']) {
      const name = claimDeviceName('rdma', device);
      assert.match(name, LABEL);
      assert.equal(physicalName(name), name);
      assert.equal(physicalName(slotDeviceName(name, 7)), name);
    }
  });

  it('is a label, with any slot behind it too, and leads back to its device', () => {
    const device = fc.oneof(
      fc.stringMatching(/^[A-Za-z0-9][\w.:-]{0,57}$/),
      fc.stringMatching(/^[a-z0-9-]{1,40}-slot-\d{1,5}$/),
    );
    fc.assert(
      fc.property(device, fc.integer({ min: 0, max: 999 }), (name, slot) => {
        const whole = claimDeviceName('rdma', name);
        assert.match(whole, LABEL);
        assert.match(slotDeviceName(whole, slot), LABEL);
        assert.equal(physicalName(slotDeviceName(whole, slot)), whole);
        assert.equal(physicalName(whole), whole);
      }),
    );
  });
});
