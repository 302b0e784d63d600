import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CandidateSlots } from '../../../../scheduler-extender/decide/candidate-slots.ts';
import { parseExtenderArgs, REPEATED } from '../../../../scheduler-extender/wire/index.ts';
import { TestCluster } from '../../../support/extender/objects.ts';

describe('the nodes that a request names', () => {
  it('are found whatever order the requests before had, with strangers and repetitions among them', () => {
    const name = fc.integer({ min: 0, max: 12 }).map((at) => `n${at}`);
    const lists = fc.array(fc.array(name, { maxLength: 16 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(lists, fc.boolean(), (requests, isEscaped) => {
        const cluster = new TestCluster();
        for (let at = 0; at < 10; at++) cluster.node(`n${at}`); // n10 to n12 are strangers
        const candidateSlots = new CandidateSlots();
        for (const names of requests) {
          const text = JSON.stringify({ NodeNames: names });
          const { candidates } = parseExtenderArgs(Buffer.from(isEscaped ? text.replaceAll('"n', '"\\u006e') : text));
          const slots = candidateSlots.find(candidates, cluster.index.nodes);
          const expected = names.map((node, at) => (names.indexOf(node) < at ? REPEATED : cluster.slot(node)));
          assert.deepEqual([...slots.subarray(0, candidates.count)], expected, names.join(' '));
        }
      }),
      { numRuns: 500, seed: 53 },
    );
  });

  it('are the nodes of now, not of the list before', () => {
    const cluster = new TestCluster().node('a').node('b');
    const candidateSlots = new CandidateSlots();
    const find = (names: string[]) => {
      const { candidates } = parseExtenderArgs(Buffer.from(JSON.stringify({ NodeNames: names })));
      return [...candidateSlots.find(candidates, cluster.index.nodes).subarray(0, names.length)];
    };
    find(['a', 'b']);
    cluster.index.remove('csiNode', 'b');
    cluster.index.remove('node', 'b');
    cluster.node('c'); // takes the number of b
    assert.deepEqual(find(['a', 'b', 'c']), [cluster.slot('a'), -1, cluster.slot('c')]);
    assert.deepEqual(find(['a', 'b', 'c']), [cluster.slot('a'), -1, cluster.slot('c')]);
    cluster.node('b');
    assert.deepEqual(find(['a', 'b', 'c']), [cluster.slot('a'), cluster.slot('b'), cluster.slot('c')]);
    cluster.index.remove('node', 'c'); // its CSINode still refers to the name
    assert.deepEqual(find(['a', 'b', 'c']), [cluster.slot('a'), cluster.slot('b'), -1]);
  });
});
