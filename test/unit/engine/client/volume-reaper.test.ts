import assert from 'node:assert/strict';
import { realClock } from '../../../../common/ports/index.ts';
import { logKey, type NodeId, nodeId, StampClock } from '../../../../engine/blob/index.ts';
import { NodeVolumeReaper } from '../../../../engine/client/index.ts';
import type { VolumeRecord } from '../../../../engine/control/index.ts';
import { bytesOf, EC, eachOnSixNodes, VOLUME } from './client-bench.ts';

describe('reaper of deleted volumes', () => {
  const on = eachOnSixNodes();

  const volume = (homeSet: readonly NodeId[]): VolumeRecord => ({
    id: VOLUME,
    name: 'v',
    sizeBytes: 1n << 30n,
    policy: 'ec:4+2',
    failureDomain: 'host',
    maxShardsPerDomain: 1,
    provisioning: 'thick',
    tier: '',
    parameters: {},
    homeSet,
    homeSetVersion: 1n,
    attachment: null,
    generation: 4n,
    state: 'deleting',
    createdMs: 0,
  });

  const homeSet = (): NodeId[] => on.bench.cluster.all().map(({ id }) => id);

  const reap = async (nodes: readonly NodeId[]): Promise<readonly NodeId[]> => {
    const health = on.bench.cluster.client.nodes();
    const reaper = new NodeVolumeReaper({ health, stamps: new StampClock(realClock), clock: realClock });
    return await reaper.reap(volume(nodes), AbortSignal.timeout(5000));
  };

  const putLog = async (): Promise<void> => {
    const epoch = { generation: 4n, incarnation: 9n };
    const log = { owner: VOLUME, epoch, sequence: 1n, homeSet: homeSet(), homeSetVersion: 1n };
    using deadline = on.bench.cluster.deadline();
    const key = logKey(VOLUME, epoch, 1n);
    await on.bench.cluster.client.put({ key, data: bytesOf(300_000), policy: EC, log, deadline });
  };

  it('frees every home node and fences the last writer there', async () => {
    await putLog();
    assert.deepEqual(await reap(homeSet()), []);
    for (const node of on.bench.cluster.all()) assert.equal(node.shards.length, 0);
    await assert.rejects(putLog(), { code: 'FENCED' });
  });

  it('names the nodes that did not confirm, and is done when they are back', async () => {
    await putLog();
    const [away] = on.bench.cluster.all();
    assert.ok(away);
    away.kill();
    assert.deepEqual(await reap(homeSet()), [away.id]);
    away.revive();
    while ((await reap(homeSet())).length > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(away.shards.length, 0);
  });

  it('does not wait for a node that left the map', async () => {
    assert.deepEqual(await reap([...homeSet(), nodeId('gone')]), []);
  });
});
