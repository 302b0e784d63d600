import assert from 'node:assert/strict';
import fc from 'fast-check';
import { domainShardLimit, type NodeId, nodeId, parsePolicy, shardCount } from '../../../../engine/blob/index.ts';
import { planWrite, type WritePlan, type WriteSituation } from '../../../../engine/client/index.ts';
import { missingMaskOf } from '../../../../engine/client/write-plan.ts';

const NODES = Array.from({ length: 12 }, (_, at) => nodeId(`n${at}`));

const situation = fc
  .record({
    policy: fc.constantFrom('ec:4+2', 'ec:2+1', 'ec:6+3', 'replica:2', 'replica:3', 'replica:5').map(parsePolicy),
    away: fc.uniqueArray(fc.nat(11), { maxLength: 12 }),
    perRack: fc.constantFrom(1, 2, 3),
    degraded: fc.constantFrom('allow', 'wait'),
  })
  .map(({ policy, away, perRack, degraded }): WriteSituation => {
    const rack = (node: NodeId): string => `r${Math.floor(NODES.indexOf(node) / perRack)}`;
    const owners: NodeId[] = [];
    for (const node of NODES) {
      if (owners.length < shardCount(policy) && !owners.some((owner) => rack(owner) === rack(node))) owners.push(node);
    }
    for (const node of NODES) {
      if (owners.length < shardCount(policy) && !owners.includes(node)) owners.push(node);
    }
    const walk = [...owners, ...NODES.filter((node) => !owners.includes(node))];
    const usable = (node: NodeId): boolean => !away.includes(NODES.indexOf(node));
    return { policy, maxShardsPerDomain: 1, owners, walk, domainOf: rack, usable, placed: [], degraded };
  });

function applied(now: WriteSituation, plan: WritePlan): (NodeId | undefined)[] {
  const placed: (NodeId | undefined)[] = Array.from(
    { length: shardCount(now.policy) },
    (_, shard) => now.placed[shard],
  );
  for (const { shard, node } of plan.assign) {
    assert.equal(placed[shard], undefined, 'a shard was placed twice');
    placed[shard] = node;
  }
  return placed;
}

function countBy<T>(items: readonly T[]): number[] {
  const counts = new Map<T, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return [...counts.values()];
}

describe('write plan', () => {
  it('never puts more than m shards into one failure domain, nor one on a node that is not usable', () => {
    fc.assert(
      fc.property(situation, (now) => {
        const placed = applied(now, planWrite(now)).filter((node) => node !== undefined);
        for (const node of placed) assert.ok(now.usable(node));
        for (const count of countBy(placed.map(now.domainOf))) assert.ok(count <= domainShardLimit(now.policy));
      }),
    );
  });

  it('is complete only with W distinct nodes and all shards, or a quorum of copies on nodes of their own', () => {
    fc.assert(
      fc.property(situation, (now) => {
        const plan = planWrite(now);
        const placed = applied(now, plan).filter((node) => node !== undefined);
        const distinct = new Set(placed).size;
        if (now.policy.k === 1) assert.equal(distinct, placed.length, 'two copies on one node');
        if (!plan.complete) return;
        assert.ok(distinct >= now.policy.quorum);
        if (now.policy.k > 1) assert.equal(placed.length, shardCount(now.policy));
      }),
    );
  });

  it('finds a complete plan whenever one node per domain, each with at most m shards, can carry it', () => {
    fc.assert(
      fc.property(situation, (now) => {
        if (now.degraded === 'wait' || now.policy.k === 1) return;
        const racks = countBy(now.walk.filter(now.usable).map(now.domainOf));
        if (racks.length < now.policy.quorum) return;
        const room = racks.length * domainShardLimit(now.policy);
        if (room >= shardCount(now.policy)) assert.ok(planWrite(now).complete);
      }),
    );
  });

  it('sends every shard home when all owners are usable, and nothing elsewhere when degraded writes are not wanted', () => {
    fc.assert(
      fc.property(situation, (now) => {
        const placed = applied(now, planWrite(now));
        placed.forEach((node, shard) => {
          const owner = now.owners[shard];
          if (node === undefined || owner === undefined) return;
          if (now.degraded === 'wait') assert.equal(node, owner);
        });
        const sound = Math.max(...countBy(now.owners.map(now.domainOf))) <= domainShardLimit(now.policy);
        if (sound && now.owners.every(now.usable)) assert.deepEqual(placed, now.owners);
      }),
    );
  });

  it('doubles up evenly: no usable node has two shards more than another in the same position', () => {
    fc.assert(
      fc.property(situation, (now) => {
        if (now.degraded === 'wait' || now.policy.k === 1) return;
        const plan = planWrite(now);
        if (!plan.complete) return;
        const placed = applied(now, plan).filter((node) => node !== undefined);
        const perRack = countBy(placed.map(now.domainOf));
        const usableRacks = new Set(now.walk.filter(now.usable).map(now.domainOf)).size;
        assert.ok(
          Math.max(...perRack) <=
            Math.max(1, Math.ceil(shardCount(now.policy) / Math.min(usableRacks, shardCount(now.policy))) + 1),
        );
      }),
    );
  });

  it('goes on from what is placed already when a node is lost half-way', () => {
    fc.assert(
      fc.property(situation, fc.nat(11), (now, lost) => {
        const first = planWrite(now);
        if (!first.complete || now.degraded === 'wait') return;
        const dead = NODES[lost];
        const placed = applied(now, first).map((node) => (node === dead ? undefined : node));
        const usable = (node: NodeId): boolean => node !== dead && now.usable(node);
        const next = { ...now, placed, usable };
        const after = applied(next, planWrite(next)).filter((node) => node !== undefined);
        assert.ok(!after.includes(dead as NodeId));
        for (const count of countBy(after.map(now.domainOf))) assert.ok(count <= domainShardLimit(now.policy));
      }),
    );
  });

  it('names in the mask exactly the shards that are not with their owners', () => {
    const [a, b, c] = NODES;
    assert.ok(a && b && c);
    assert.equal(missingMaskOf([a, b, c], [a, b, c], 3), 0);
    assert.equal(missingMaskOf([a, b, c], [a, c, undefined], 3), 0b110);
  });
});
