import assert from 'node:assert/strict';
import { resourceSliceFacts } from '../../../../scheduler-extender/kube/index.ts';
import { type Given, hcaDevice as hca, sliceObject, TestCluster } from '../../../support/extender/objects.ts';

const RDMA = 'nabustore.io/rdma';

describe('devices that nodes publish for claims', () => {
  let cluster: TestCluster;
  beforeEach(() => {
    cluster = new TestCluster().node('n');
  });
  const put = (...given: Parameters<typeof sliceObject>): void =>
    cluster.index.put('slice', resourceSliceFacts(sliceObject(...given)));
  const units = () => cluster.index.slices.units(cluster.slot('n'), RDMA);

  it('are counted by NUMA node, with slots, without those that are tainted', () => {
    const capacity = { 'nabustore.io/slots': { value: '4' } };
    const taints = [{ key: 'nabustore.io/unhealthy', value: 'link', effect: 'NoSchedule' }];
    put('a', 'n', [hca(0), hca(0, { capacity }), hca(1), hca(1, { taints })]);
    assert.deepEqual(units(), { total: 6, mostOnOne: 5 });
  });

  it('are taken to be on one NUMA node where that is not said', () => {
    put('a', 'n', [hca(0), hca(undefined)]);
    assert.deepEqual(units(), { total: 2, mostOnOne: 2 });
  });

  it('are those of the newest generation of a pool, over all of its slices', () => {
    put('a', 'n', [hca(0)], 1);
    put('b', 'n', [hca(1)], 1);
    assert.deepEqual(units(), { total: 2, mostOnOne: 1 });
    put('a', 'n', [hca(0), hca(0)], 2);
    assert.deepEqual(units(), { total: 2, mostOnOne: 2 });
    cluster.index.remove('slice', 'a');
    assert.deepEqual(units(), { total: 1, mostOnOne: 1 });
    cluster.index.remove('slice', 'b');
    assert.equal(units(), undefined);
    assert.equal(cluster.index.slices.count, 0);
  });

  it('of another driver, or that are none of ours, do not count, and never throw more than INVALID_ARGUMENT', () => {
    const foreign = sliceObject('a', 'n', [hca(0)]);
    cluster.index.put(
      'slice',
      resourceSliceFacts({ ...foreign, spec: { ...(foreign.spec as Given), driver: 'gpu.example.com' } }),
    );
    put('b', 'n', [{ attributes: { 'nabustore.io/resource': { string: 'example.com/x' } } }, {}, null as never]);
    assert.equal(units(), undefined);
    assert.throws(() => resourceSliceFacts({ metadata: { name: 'x' } }), { code: 'INVALID_ARGUMENT' });
  });
});
