import assert from 'node:assert/strict';
import { realClock } from '../../../../common/ports/index.ts';
import { logKey, logPolicy, type NodeId } from '../../../../engine/blob/index.ts';
import type { PutResult } from '../../../../engine/client/index.ts';
import { bytesOf, EC, eachOnSixNodes, take, VOLUME } from './client-bench.ts';
import { FakeCluster } from './fake-cluster.ts';

describe('blob client with log blobs', () => {
  const on = eachOnSixNodes();

  const log = (sequence: bigint, generation = 1n) => {
    const epoch = { generation, incarnation: 1n };
    const homeSet = on.bench.cluster.maps.current().nodes.map(({ id }) => id);
    return { owner: VOLUME, epoch, sequence, homeSet, homeSetVersion: 1n };
  };
  const putLog = async (sequence: bigint, length: number, generation = 1n): Promise<PutResult> => {
    using deadline = on.bench.cluster.deadline();
    const policy = logPolicy(EC, length);
    const write = log(sequence, generation);
    const key = logKey(VOLUME, write.epoch, sequence);
    return await on.bench.cluster.client.put({ key, data: bytesOf(length), policy, log: write, deadline });
  };

  it('keeps small ones on m + 1 nodes, all of which must confirm', async () => {
    const result = await putLog(1n, 8192);
    assert.equal(new Set(result.nodes).size, 3);
    for (const node of on.bench.cluster.all().slice(0, 4)) node.kill();
    using deadline = on.bench.cluster.deadline(60);
    const write = log(2n);
    const request = {
      key: logKey(VOLUME, write.epoch, 2n),
      data: bytesOf(8192),
      policy: logPolicy(EC, 8192),
      log: write,
    };
    await assert.rejects(on.bench.cluster.client.put({ ...request, deadline }), { code: 'NOT_ENOUGH_NODES' });
  });

  it('stripes large ones', async () => {
    assert.equal(new Set((await putLog(1n, 300_000)).nodes).size, 6);
  });

  it('fails at once when any node says fenced', async () => {
    on.bench.cluster.all()[3]?.fences.set(VOLUME, { generation: 2n, incarnation: 0n });
    await assert.rejects(putLog(1n, 300_000), { code: 'FENCED' });
    assert.equal((await putLog(2n, 300_000, 2n)).degraded, false);
  });

  it('stays in the home set', async () => {
    on.bench.cluster = new FakeCluster(20, realClock);
    using deadline = on.bench.cluster.deadline();
    const homeSet = on.bench.cluster.maps
      .current()
      .nodes.slice(4, 16)
      .map(({ id }) => id);
    for (let sequence = 1n; sequence <= 20n; sequence++) {
      const write = { ...log(sequence), homeSet };
      const key = logKey(VOLUME, write.epoch, sequence);
      const result = await on.bench.cluster.client.put({
        key,
        data: bytesOf(300_000),
        policy: EC,
        log: write,
        deadline,
      });
      for (const id of result.nodes) assert.ok(homeSet.includes(id as NodeId));
      take(await on.bench.cluster.client.get({ key, policy: EC, blobLength: 300_000, homeSet, deadline }));
    }
  });

  it('probes nodes one by one and calls silence silence', async () => {
    const { key, nodes } = await putLog(1n, 8192);
    const all = on.bench.cluster.all();
    const [frozen, dead, forgetful] = all.filter(({ id }) => !nodes.includes(id));
    assert.ok(frozen && dead && forgetful);
    frozen.frozen = true;
    dead.kill();
    forgetful.forgetful = true;
    using deadline = on.bench.cluster.deadline();
    const answers = await on.bench.cluster.client.probe({
      key,
      nodes: all.map(({ id }) => id),
      deadline,
      nodeTimeoutMs: 50,
    });
    for (const id of nodes) assert.equal(answers.get(id as NodeId)?.state, 'found');
    assert.equal(answers.get(frozen.id)?.state, 'silent');
    assert.equal(answers.get(dead.id)?.state, 'silent');
    assert.equal(answers.get(forgetful.id)?.state, 'unknown');
  });
});
