import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type NodeId, nodeId, parsePolicy, stripeId } from '../../../../engine/blob/index.ts';
import type { ProbeAnswer, ShardFound } from '../../../../engine/client/index.ts';
import { weighEvidence } from '../../../../engine/volume/log-verdict.ts';

const POLICY = parsePolicy('ec:4+2');
const BLOB = 1024 * 1024;
const nodes = [1, 2, 3, 4, 5, 6].map((n) => nodeId(`n${n}`));

const shard = (shardIndex: number, k = 4, m = 2, id = 1): ShardFound => ({
  stripeId: stripeId(new Uint8Array(16).fill(id)),
  shardIndex,
  k,
  m,
  blobLength: BLOB,
  shardLength: BLOB / k,
  stamp: 1n,
});

/** One entry per node: shard indices, or a state. */
function answers(...given: (readonly number[] | 'absent' | 'unknown' | 'silent')[]): Map<NodeId, ProbeAnswer> {
  return new Map(
    given.map((what, at) => [
      nodes[at] ?? nodeId('none'),
      typeof what === 'string'
        ? what === 'silent'
          ? { state: what, reason: 'test' }
          : { state: what }
        : { state: 'found', shards: what.map((index) => shard(index)) },
    ]),
  );
}

const everyone = (): boolean => true;

describe('evidence about a log blob', () => {
  it('of every shard on fenced nodes is complete', () => {
    const evidence = weighEvidence(POLICY, answers([0], [1], [2], [3], [4], [5]), everyone);
    assert.equal(evidence.complete, true);
    assert.equal(evidence.best?.shards, 6);
    assert.equal(evidence.unacknowledged, false);
  });

  it('counts a store that may not say absent as silent', () => {
    const silent = weighEvidence(
      POLICY,
      answers('absent', 'absent', 'absent', 'unknown', 'unknown', 'unknown'),
      everyone,
    );
    assert.equal(silent.unacknowledged, false);
    assert.equal(silent.silent.length, 3);
    const enough = weighEvidence(
      POLICY,
      answers('absent', 'absent', 'absent', 'absent', 'unknown', 'unknown'),
      everyone,
    );
    assert.equal(enough.unacknowledged, true);
  });

  it('does not take the word of a node that is not fenced: it may yet take shards of the old writer', () => {
    const given = answers([0], [1], [2], 'absent', 'absent', 'absent');
    assert.equal(weighEvidence(POLICY, given, everyone).unacknowledged, true);
    const unfenced = new Set<NodeId>(nodes.slice(3, 5));
    assert.equal(weighEvidence(POLICY, given, (node) => !unfenced.has(node)).unacknowledged, false);
  });

  it('counts shards on a silent node towards reading, not towards completeness', () => {
    const evidence = weighEvidence(POLICY, answers([0], [1], [2], [3], [4], [5]), (node) => node !== nodes[5]);
    assert.equal(evidence.best?.shards, 6);
    assert.equal(evidence.complete, false);
  });

  it('ignores shards of a form that the volume has not', () => {
    const given = answers('absent', 'absent', 'absent', 'absent', 'absent', 'absent');
    given.set(nodes[0] ?? nodeId('none'), { state: 'found', shards: [shard(0, 8, 2)] });
    const evidence = weighEvidence(POLICY, given, everyone);
    assert.equal(evidence.best, undefined);
    assert.equal(evidence.unacknowledged, true);
  });

  it('never proves an acknowledged stripe unacknowledged, whoever is silent, unknown or unfenced', () => {
    const state = fc.constantFrom('there', 'silent', 'unknown', 'unfenced');
    fc.assert(
      fc.property(
        fc.constantFrom(
          [[0], [1], [2], [3], [4], [5]],
          [[0, 1], [2, 3], [4, 5], [], [], []],
          [[0, 4], [1, 5], [2], [3], [], []],
        ),
        fc.array(state, { minLength: 6, maxLength: 6 }),
        (placement, states) => {
          const given = answers(
            ...placement.map((held, at) => {
              const how = states[at];
              if (how === 'silent' || how === 'unknown') return how;
              return how === 'unfenced' || held.length === 0 ? 'absent' : held;
            }),
          );
          const fenced = (node: NodeId): boolean => states[nodes.indexOf(node)] !== 'unfenced';
          assert.equal(weighEvidence(POLICY, given, fenced).unacknowledged, false);
        },
      ),
    );
  });
});
