import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type BlobKey,
  blobKey,
  contentKey,
  domainShardLimit,
  parsePolicy,
  shardCount,
  volumeId,
  walkLimit,
} from '../../../../engine/blob/index.ts';
import {
  assertPolicyFits,
  type ClusterMap,
  domainOf,
  homeSet,
  placeShards,
  Ring,
} from '../../../../engine/placement/index.ts';
import { sampleMap, sampleNodes } from './sample-map.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(blobKey);
const policy = fc.constantFrom('ec:4+2', 'ec:2+1', 'ec:8+2', 'ec:8+3', 'replica:2', 'replica:3').map(parsePolicy);
const nodes = fc
  .uniqueArray(
    fc.record({
      id: fc.integer({ min: 0, max: 999 }).map((at) => `n${at}`),
      rack: fc.integer({ min: 0, max: 7 }).map((at) => `r${at}`),
      zone: fc.integer({ min: 0, max: 2 }).map((at) => `z${at}`),
      weight: fc.double({ min: 0.5, max: 3, noNaN: true }),
      state: fc.constantFrom('up', 'up', 'up', 'down', 'draining', 'out'),
    }),
    { minLength: 1, maxLength: 24, selector: (node) => node.id },
  )
  .map((list) => sampleMap(list));
const domain = fc.constantFrom('zone', 'rack', 'host');

function countBy<T>(items: readonly T[], name: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(name(item), (counts.get(name(item)) ?? 0) + 1);
  return counts;
}

function domainCounts(map: ClusterMap, owners: readonly string[], kind: 'zone' | 'rack' | 'host'): Map<string, number> {
  return countBy(owners, (id) => {
    const node = map.nodes.find((candidate) => candidate.id === id);
    assert.ok(node);
    return domainOf(node, kind);
  });
}

function keys(count: number): BlobKey[] {
  return Array.from({ length: count }, (_, at) => contentKey(Buffer.from(`key ${at}`)));
}

describe('placement', () => {
  it('puts at most maxShardsPerDomain shards in a failure domain when the policy fits, and never more than m', () => {
    fc.assert(
      fc.property(nodes, key, policy, domain, fc.integer({ min: 1, max: 3 }), (map, at, wanted, kind, most) => {
        const rules = { failureDomain: kind, maxShardsPerDomain: Math.min(most, domainShardLimit(wanted)) };
        const { owners } = placeShards(map, new Ring(map), at, wanted, rules);
        const counts = domainCounts(map, owners, kind);
        const eligible = map.nodes.filter((node) => node.state === 'up' || node.state === 'down');
        const room = [...countBy(eligible, (node) => domainOf(node, kind)).values()];
        const fits =
          room.reduce((sum, count) => sum + Math.min(count, rules.maxShardsPerDomain), 0) >= shardCount(wanted);
        for (const count of counts.values()) {
          assert.ok(count <= (fits ? rules.maxShardsPerDomain : domainShardLimit(wanted)));
        }
        if (fits) assert.equal(owners.length, shardCount(wanted));
      }),
    );
  });

  it('gives no owner that drains or is out, and walks over distinct nodes, owners first, at most 2(k+m)', () => {
    fc.assert(
      fc.property(nodes, key, policy, (map, at, wanted) => {
        const { owners, walk } = placeShards(map, new Ring(map), at, wanted);
        const states = new Map<string, string>(map.nodes.map((node) => [node.id, node.state]));
        for (const owner of owners) assert.ok(['up', 'down'].includes(states.get(owner) ?? ''));
        for (const id of walk) assert.notEqual(states.get(id), 'out');
        assert.equal(new Set(walk).size, walk.length);
        assert.ok(walk.length <= walkLimit(wanted));
        const distinct = [...new Set(owners)];
        assert.deepEqual(walk.slice(0, distinct.length), distinct);
      }),
    );
  });

  it('is pure: the order in which nodes are listed does not matter', () => {
    fc.assert(
      fc.property(nodes, key, policy, (map, at, wanted) => {
        const reversed = sampleMapOf(map);
        assert.deepEqual(
          placeShards(map, new Ring(map), at, wanted),
          placeShards(reversed, new Ring(reversed), at, wanted),
        );
      }),
    );
  });

  it('doubles up evenly when there are fewer domains than shards', () => {
    const map = sampleMap(sampleNodes(3));
    for (const at of keys(50)) {
      const { owners } = placeShards(map, new Ring(map), at, parsePolicy('ec:4+2'));
      assert.deepEqual([...countBy(owners, String).values()], [2, 2, 2]);
    }
    const four = sampleMap(sampleNodes(4));
    for (const at of keys(50)) {
      const { owners } = placeShards(four, new Ring(four), at, parsePolicy('ec:4+2'));
      assert.deepEqual([...countBy(owners, String).values()].sort(), [1, 1, 2, 2]);
    }
  });

  it('never puts two copies of a replicated blob on one node', () => {
    const map = sampleMap(sampleNodes(2));
    const { owners } = placeShards(map, new Ring(map), blobKey(Buffer.alloc(32, 9)), parsePolicy('replica:3'));
    assert.equal(owners.length, 2);
    assert.equal(new Set(owners).size, 2);
  });

  it('stays inside a home set', () => {
    const map = sampleMap(sampleNodes(40));
    const ring = new Ring(map);
    const wanted = parsePolicy('ec:4+2');
    const home = homeSet(map, ring, volumeId('0123456789abcdef0123456789abcdef'), wanted);
    assert.equal(home.length, 12);
    assert.equal(new Set(home).size, 12);
    for (const at of keys(200)) {
      const { owners, walk } = placeShards(map, ring, at, wanted, undefined, home);
      assert.equal(new Set(owners).size, 6);
      for (const id of walk) assert.ok(home.includes(id));
      assert.equal(walk.length, 12);
    }
  });

  it('makes every node of a small cluster part of the home set', () => {
    const map = sampleMap(sampleNodes(6));
    const home = homeSet(map, new Ring(map), volumeId('ffffffffffffffffffffffffffffffff'), parsePolicy('ec:4+2'));
    assert.deepEqual(
      [...home].sort(),
      map.nodes.map((node) => node.id),
    );
  });

  it('gives a home set at least k + m failure domains where the cluster has them', () => {
    const list = Array.from({ length: 48 }, (_, at) => ({ id: `n${at}`, rack: `r${at < 42 ? at % 2 : at}` }));
    const map = sampleMap(list);
    const rules = { failureDomain: 'rack', maxShardsPerDomain: 1 } as const;
    for (let at = 0; at < 30; at++) {
      const volume = volumeId(at.toString(16).padStart(32, '0'));
      const home = homeSet(map, new Ring(map), volume, parsePolicy('ec:4+2'), rules);
      assert.ok(domainCounts(map, home, 'rack').size >= 6);
    }
  });

  it('refuses a policy that is wider than the cluster, and accepts it when domains may hold more', () => {
    const map = sampleMap(sampleNodes(3));
    const wide = parsePolicy('ec:4+2');
    assert.throws(() => assertPolicyFits(map, wide), {
      code: 'POLICY_TOO_WIDE',
      fields: { policy: 'ec:4+2', needed: 6, available: 3 },
    });
    assertPolicyFits(map, wide, { failureDomain: 'host', maxShardsPerDomain: 2 });
    assert.throws(() => assertPolicyFits(map, wide, { failureDomain: 'rack', maxShardsPerDomain: 2 }), {
      code: 'POLICY_TOO_WIDE',
    });
    assertPolicyFits(map, parsePolicy('replica:3'));
    const two = sampleMap(sampleNodes(2));
    assert.throws(() => assertPolicyFits(two, wide, { failureDomain: 'host', maxShardsPerDomain: 9 }), {
      code: 'POLICY_TOO_WIDE',
      fields: { policy: 'ec:4+2', needed: 3, available: 2 },
    });
  });
});

function sampleMapOf(map: ClusterMap): ClusterMap {
  return sampleMap(
    [...map.nodes].reverse().map((node) => ({
      id: node.id,
      rack: node.domain.rack,
      zone: node.domain.zone,
      weight: node.weight,
      state: node.state,
    })),
  );
}

describe('ring', () => {
  const wanted = parsePolicy('ec:4+2');

  function sharesOf(map: ClusterMap, sample: readonly BlobKey[]): Map<string, number> {
    const ring = new Ring(map);
    return countBy(
      sample.flatMap((at) => [...placeShards(map, ring, at, wanted).owners]),
      String,
    );
  }

  it('moves only the share of a node that comes or goes', () => {
    const sample = keys(2000);
    const before = sampleMap(sampleNodes(24));
    const after = sampleMap(sampleNodes(25));
    const [ringBefore, ringAfter] = [new Ring(before), new Ring(after)];
    let moved = 0;
    for (const at of sample) {
      const old = new Set(placeShards(before, ringBefore, at, wanted).owners);
      const now = placeShards(after, ringAfter, at, wanted).owners.filter((id) => !old.has(id));
      for (const id of now) assert.equal(id, 'n24', 'a shard moved between two nodes that were there before');
      moved += now.length;
    }
    const share = moved / (sample.length * 6);
    assert.ok(share > 0.02 && share < 0.07, `1/25 of the shards should move, ${share} did`);
  });

  it('respects weights', () => {
    const map = sampleMap(sampleNodes(30).map((node, at) => ({ ...node, weight: at < 10 ? 2 : 1 })));
    const shares = sharesOf(map, keys(4000));
    const mean = (from: number, to: number): number =>
      Array.from({ length: to - from }, (_, at) => shares.get(`n${from + at}`) ?? 0).reduce((a, b) => a + b, 0) /
      (to - from);
    const ratio = mean(0, 10) / mean(10, 30);
    assert.ok(ratio > 1.65 && ratio < 2.2, `weight 2 should hold nearly twice as much, not ${ratio}`);
  });

  it('spreads keys over equal nodes within a quarter of the mean', () => {
    const shares = sharesOf(sampleMap(sampleNodes(20)), keys(5000));
    const mean = (5000 * 6) / 20;
    for (const [id, share] of shares)
      assert.ok(Math.abs(share - mean) < 0.25 * mean, `${id} holds ${share} of ${mean}`);
  });

  it('walks over every node once, whatever the key', () => {
    fc.assert(
      fc.property(key, (at) => {
        const map = sampleMap(sampleNodes(17));
        assert.deepEqual(
          [...new Ring(map).walk(at)].sort((a, b) => a - b),
          [...map.nodes.keys()],
        );
      }),
      { numRuns: 30 },
    );
  });

  it('has no points for a node that is out, and an empty walk on an empty map', () => {
    const map = sampleMap([{ id: 'a' }, { id: 'b', state: 'out' }]);
    assert.deepEqual([...new Ring(map).walk(blobKey(Buffer.alloc(32, 255)))], [0]);
    assert.deepEqual([...new Ring(sampleMap([])).walk(blobKey(Buffer.alloc(32)))], []);
  });
});
