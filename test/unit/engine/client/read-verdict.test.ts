import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  contentKey,
  domainShardLimit,
  type NodeId,
  nodeId,
  parsePolicy,
  shardCount,
} from '../../../../engine/blob/index.ts';
import { readVerdict } from '../../../../engine/client/index.ts';

const key = contentKey(Buffer.from('x'));
const nodes = (count: number, prefix: string): NodeId[] =>
  Array.from({ length: count }, (_, at) => nodeId(`${prefix}${at}`));

describe('read verdict', () => {
  it('never says absent of a blob that could have been acknowledged, whichever nodes hide its shards', () => {
    const policy = fc.constantFrom('ec:4+2', 'ec:8+2', 'ec:2+1', 'replica:2', 'replica:3').map(parsePolicy);
    // An acknowledged placement: shard i lies on node placement[i]; then nodes fall silent, forget, or rot.
    fc.assert(
      fc.property(
        policy,
        fc.infiniteStream(fc.nat(11)),
        fc.array(fc.constantFrom('good', 'silent', 'unknown', 'corrupt'), { minLength: 12, maxLength: 12 }),
        (kind, stream, fate) => {
          const placement: number[] = [];
          const stored = kind.k === 1 ? kind.quorum : shardCount(kind);
          for (const node of stream) {
            const here = placement.filter((other) => other === node).length;
            if (here < (kind.k === 1 ? 1 : domainShardLimit(kind))) placement.push(node);
            if (placement.length === stored) break;
          }
          if (new Set(placement).size < kind.quorum) return;
          const good = placement.filter((node) => fate[node] === 'good');
          if (good.length >= kind.k) return;
          const verdict = readVerdict({
            key,
            policy: kind,
            found: good.length,
            holders: new Set(placement.filter((node) => fate[node] === 'good' || fate[node] === 'corrupt')).size,
            corrupt: placement.filter((node) => fate[node] === 'corrupt').length,
            silent: fate.flatMap((what, node) => (what === 'silent' ? [nodeId(`n${node}`)] : [])),
            unknown: fate.flatMap((what, node) => (what === 'unknown' ? [nodeId(`n${node}`)] : [])),
          });
          assert.notEqual(verdict.code, 'BLOB_NOT_FOUND');
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('says absent of 4+2 with two nodes silent and nothing found, not with three', () => {
    const policy = parsePolicy('ec:4+2');
    const nothing = { key, policy, found: 0, holders: 0, corrupt: 0, unknown: [] };
    assert.equal(readVerdict({ ...nothing, silent: nodes(2, 's') }).code, 'BLOB_NOT_FOUND');
    assert.equal(readVerdict({ ...nothing, silent: nodes(3, 's') }).code, 'BLOB_UNKNOWN');
  });

  it('calls a put that was given up half-way absent when every node answers', () => {
    const evidence = { key, policy: parsePolicy('ec:4+2'), found: 3, holders: 3, corrupt: 0, silent: [], unknown: [] };
    assert.equal(readVerdict(evidence).code, 'BLOB_NOT_FOUND');
    assert.equal(readVerdict({ ...evidence, corrupt: 3, holders: 6 }).code, 'BLOB_LOST');
    assert.equal(readVerdict({ ...evidence, silent: nodes(3, 's') }).code, 'BLOB_UNREADABLE');
  });
});
