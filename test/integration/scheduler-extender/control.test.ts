import assert from 'node:assert/strict';
import { layoutOf } from '../../../common/layout/index.ts';
import { silentLogger } from '../../../common/logging/index.ts';
import { ClusterIndex } from '../../../scheduler-extender/cluster/index.ts';
import { openControlSource } from '../../../scheduler-extender/watch/index.ts';
import { StorCluster } from '../node/stor-cluster.ts';

describe('what the extender knows by control', () => {
  it('is where storage nodes are, and how far they are by their own measurement', async () => {
    await using cluster = await StorCluster.make();
    cluster.startControl();
    cluster.startNode('node-1', ['--zone', 'a', '--rack', 'r1', '--report-ms', '200']);
    cluster.startNode('node-2', ['--zone', 'b', '--rack', 'r2', '--report-ms', '200']);
    for (const id of ['node-1', 'node-2']) await cluster.connect(id);
    const index = new ClusterIndex();
    const control = `unix:${layoutOf(cluster.dir).controlSocket}`;
    const { source, client } = await openControlSource({ control, controlPollMs: 50 }, index, silentLogger);
    try {
      source.start();
      const [inA, inB] = ['a/r1', 'b/r2'].map((path) => {
        const [zone = '', rack = ''] = path.split('/');
        return index.nodes.places.of(zone, rack, '');
      });
      const rtt = (place: number | undefined): number | undefined => index.storage.evenly.measuredRttS(place ?? 0);
      await cluster.until(async () => rtt(inA) !== undefined && rtt(inB) !== undefined);
      assert.equal(index.storage.counts.storageNodes, 2);
      assert((rtt(inB) ?? 1) < 0.1);
      assert.deepEqual(index.storage.reach('a', 'zone'), { placing: 2, up: 2 });
    } finally {
      await source.stop();
      client.close();
    }
  });
});
