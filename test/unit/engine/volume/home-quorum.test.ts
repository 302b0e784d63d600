import assert from 'node:assert/strict';
import fc from 'fast-check';
import { domainShardLimit, type Policy, parsePolicy, shardCount } from '../../../../engine/blob/index.ts';
import {
  fewestAckNodes,
  homeQuorum,
  isProvenAbsent,
  isProvenUnacknowledged,
  logForms,
} from '../../../../engine/volume/home-quorum.ts';

const POLICIES = [
  'ec:4+2',
  'ec:8+2',
  'ec:2+1',
  'ec:2+2',
  'ec:1+1',
  'ec:16+8',
  'ec:8+3',
  'replica:1',
  'replica:2',
  'replica:3',
  'replica:5',
];
const anyPolicy = fc.constantFrom(...POLICIES).map(parsePolicy);

/** Every home set that can acknowledge anything at all. */
const anyHome = anyPolicy.chain((policy) =>
  fc.record({
    policy: fc.constant(policy),
    size: fc.integer({ min: Math.max(policy.quorum, fewestAckNodes(policy)), max: 2 * shardCount(policy) + 3 }),
  }),
);

/** A placement that the write rules acknowledge: every shard stored, at least `quorum` nodes, at most the limit on each. */
function acknowledged(form: Policy, size: number, order: readonly number[]): number[][] | undefined {
  const nodes = Array.from({ length: size }, () => [] as number[]);
  const spread = Math.max(form.quorum, Math.ceil(shardCount(form) / domainShardLimit(form)));
  if (spread > size) return undefined;
  const width = spread + ((order[0] ?? 0) % (size - spread + 1));
  for (let shard = 0; shard < shardCount(form); shard++) nodes[(order[1 + shard] ?? shard) % width]?.push(shard);
  // Copies that never arrived do not matter once a quorum of nodes has one.
  const late = form.k === 1 ? nodes.slice(form.quorum) : [];
  if ((order[29] ?? 0) % 2 === 0) for (const held of late) held.length = 0;
  const legal = nodes.every((held) => held.length <= domainShardLimit(form));
  const used = nodes.filter((held) => held.length > 0).length;
  return legal && used >= form.quorum ? nodes : undefined;
}

/** Round robin over `width` nodes: always legal when there is one at all. */
const roundRobin = (shift: number): number[] => Array.from({ length: 64 }, (_, at) => (at === 0 ? shift : at - 1));

describe('home-set quorums', () => {
  it('fence all but m nodes for erasure codes', () => {
    assert.equal(homeQuorum(parsePolicy('ec:4+2'), 6).fence, 4);
    assert.equal(homeQuorum(parsePolicy('ec:4+2'), 12).fence, 10);
    assert.equal(homeQuorum(parsePolicy('ec:2+1'), 3).fence, 2);
  });

  it('leave fewer nodes unfenced than any acknowledgement needs', () => {
    fc.assert(
      fc.property(anyHome, ({ policy, size }) => {
        const unfenced = size - homeQuorum(policy, size).fence;
        for (const form of logForms(policy))
          assert.ok(unfenced < form.quorum, `${policy.name} on ${size}: ${unfenced}`);
      }),
    );
  });

  it('let every reader of notes meet every writer of notes', () => {
    fc.assert(
      fc.property(anyHome, ({ policy, size }) => {
        const { noteRead, noteWrite } = homeQuorum(policy, size);
        assert.ok(noteRead >= 1 && noteWrite <= size);
        assert.ok(noteRead + noteWrite > size);
      }),
    );
  });

  it('keep a note on more nodes than an erasure code may lose', () => {
    fc.assert(
      fc.property(anyHome, ({ policy, size }) => {
        if (policy.kind === 'ec') assert.ok(homeQuorum(policy, size).noteWrite > policy.m);
      }),
    );
  });
});

describe('proof that a log blob was never acknowledged', () => {
  it('is never given for a blob that the write rules could have acknowledged, whichever nodes are silent', () => {
    fc.assert(
      fc.property(
        anyHome,
        fc.boolean(),
        fc.array(fc.nat(), { minLength: 30, maxLength: 30 }),
        fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
        fc.boolean(),
        ({ policy, size }, small, order, silence, tidy) => {
          const form = small ? logForms(policy).at(-1) : policy;
          assert.ok(form);
          const nodes = acknowledged(form, size, tidy ? roundRobin(order[0] ?? 0) : order);
          fc.pre(nodes !== undefined);
          const silent = nodes.map((_, at) => silence[at] === true);
          const answering = nodes.filter((_, at) => silent[at] !== true);
          const tally = {
            shardsFound: new Set(answering.flat()).size,
            nodesFound: answering.filter((held) => held.length > 0).length,
            nodesSilent: silent.filter(Boolean).length,
          };
          assert.equal(isProvenUnacknowledged(form, tally), false);
          if (tally.shardsFound === 0) assert.equal(isProvenAbsent(policy, tally), false);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('is given when every node answers and nothing is there', () => {
    fc.assert(
      fc.property(anyHome, ({ policy }) => {
        assert.ok(isProvenAbsent(policy, { shardsFound: 0, nodesFound: 0, nodesSilent: 0 }));
      }),
    );
  });

  it('is given for ec:4+2 with nothing found and two nodes silent, not with three', () => {
    const policy = parsePolicy('ec:4+2');
    assert.ok(isProvenAbsent(policy, { shardsFound: 0, nodesFound: 0, nodesSilent: 2 }));
    assert.equal(isProvenAbsent(policy, { shardsFound: 0, nodesFound: 0, nodesSilent: 3 }), false);
  });

  it('is not given while silent nodes could hold the rest of a partly found stripe', () => {
    const policy = parsePolicy('ec:4+2');
    assert.equal(isProvenUnacknowledged(policy, { shardsFound: 3, nodesFound: 3, nodesSilent: 2 }), false);
    assert.ok(isProvenUnacknowledged(policy, { shardsFound: 3, nodesFound: 3, nodesSilent: 1 }));
  });
});
