import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PASSED } from '../../../../scheduler-extender/filter/index.ts';
import {
  filterResult,
  hostPriorities,
  parseExtenderArgs,
  parsePreemptionArgs,
  preemptionResult,
  REPEATED,
} from '../../../../scheduler-extender/wire/index.ts';

const refusals = [
  { reason: 'no room "here"', resolvable: true },
  { reason: 'keine Zone für é', resolvable: false },
];

describe('the answer of filter', () => {
  it('has each node in one place, with its reason, for any verdicts and either form', () => {
    const nodes = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9.-]{0,40}$/), { maxLength: 60 });
    fc.assert(
      fc.property(nodes, fc.infiniteStream(fc.constantFrom(PASSED, 0, 1)), fc.boolean(), (names, verdict, isFull) => {
        const items = names.map((name) => ({ metadata: { name, padding: 'x'.repeat(name.length * 9) } }));
        const sent = isFull ? { Nodes: { items }, NodeNames: null } : { Nodes: null, NodeNames: names };
        const { candidates } = parseExtenderArgs(Buffer.from(JSON.stringify(sent, null, isFull ? 1 : 0)));
        const verdicts = Int32Array.from(names, () => verdict.next().value ?? PASSED);
        const answer = JSON.parse(filterResult({ candidates, verdicts, refusals }).toString());
        const among = (wanted: number): string[] => names.filter((_, at) => verdicts[at] === wanted);
        const map = (wanted: number): object =>
          Object.fromEntries(among(wanted).map((name) => [name, refusals[wanted]?.reason]));
        const passed = names.flatMap((_, at) => (verdicts[at] === PASSED ? [items[at]] : []));
        if (isFull) assert.deepEqual(answer.Nodes.items, passed);
        else assert.deepEqual(answer.NodeNames, among(PASSED));
        assert.deepEqual(answer.FailedNodes, map(0));
        assert.deepEqual(answer.FailedAndUnresolvableNodes, map(1));
        assert.equal(answer.Error, '');
      }),
      { numRuns: 500, seed: 3 },
    );
  });

  it('never has a null list: an empty one is the refusal of all', () => {
    const { candidates } = parseExtenderArgs(Buffer.from('{"NodeNames":["a"]}'));
    const answer = JSON.parse(filterResult({ candidates, verdicts: Int32Array.of(0), refusals }).toString());
    assert.deepEqual(answer.NodeNames, []);
  });

  it('sends back the bytes that came, whatever they mean', () => {
    const item = '{"metadata":{"name":"a","generation":9007199254740993},"x":1.0}';
    const { candidates } = parseExtenderArgs(Buffer.from(`{"Nodes":{"items":[${item}]}}`));
    const answer = filterResult({ candidates, verdicts: Int32Array.of(PASSED), refusals }).toString();
    assert(answer.includes(item));
  });

  it('stays whole while the next one is put together, small or large', () => {
    for (const padding of [10, 3 << 20]) {
      const ask = (name: string): Buffer => {
        const body = Buffer.from(
          JSON.stringify({ Nodes: { items: [{ metadata: { name }, x: 'y'.repeat(padding) }] } }),
        );
        return filterResult({
          candidates: parseExtenderArgs(body).candidates,
          verdicts: Int32Array.of(PASSED),
          refusals,
        });
      };
      const first = ask('aaa');
      const before = first.toString();
      ask('bbb');
      assert.equal(first.toString(), before);
    }
  });
});

describe('the answer of prioritize', () => {
  it('has each node once that scores, and not those that have 0 without being named', () => {
    const { candidates } = parseExtenderArgs(Buffer.from('{"NodeNames":["a","b","a","c"]}'));
    const answer = JSON.parse(hostPriorities(candidates, Int32Array.of(10, 0, REPEATED, 7)).toString());
    const expected = [
      { Host: 'a', Score: 10 },
      { Host: 'c', Score: 7 },
    ];
    assert.deepEqual(answer, expected);
  });

  it('leaves out what all have', () => {
    const { candidates } = parseExtenderArgs(Buffer.from('{"NodeNames":["a","b","a","c"]}'));
    const answer = JSON.parse(hostPriorities(candidates, Int32Array.of(10, 4, REPEATED, 5)).toString());
    const expected = [
      { Host: 'a', Score: 6 },
      { Host: 'c', Score: 1 },
    ];
    assert.deepEqual(answer, expected);
  });

  it('is empty where all score alike', () => {
    const { candidates } = parseExtenderArgs(Buffer.from('{"NodeNames":["a","b","a"]}'));
    const alike = (scores: number[]) => JSON.parse(hostPriorities(candidates, Int32Array.from(scores)).toString());
    assert.deepEqual(alike([10, 10, REPEATED]), []);
    assert.deepEqual(alike([0, 0, REPEATED]), []);
    assert.deepEqual(alike([10, 9, REPEATED]), [{ Host: 'a', Score: 1 }]);
  });
});

describe('preemption', () => {
  const meta = { n1: { Pods: [{ UID: 'u1' }, { UID: 'u2' }], NumPDBViolations: 1 }, n2: { Pods: [] } };

  it('reads victims by id or whole, and the same comes out', () => {
    const full = {
      n1: { Pods: [{ metadata: { uid: 'u1' } }, { metadata: { uid: 'u2' } }], NumPDBViolations: 1 },
      n2: null,
    };
    const read = (value: unknown) => parsePreemptionArgs(Buffer.from(JSON.stringify(value))).victims;
    const byId = read({ Pod: {}, NodeNameToMetaVictims: meta, NodeNameToVictims: null });
    assert.deepEqual(read({ Pod: {}, NodeNameToVictims: full, NodeNameToMetaVictims: null }), byId);
    assert.deepEqual(byId[0], { node: 'n1', podUids: ['u1', 'u2'], pdbViolations: 1 });
  });

  it('answers no node without a victim, which the scheduler would refuse', () => {
    const { victims } = parsePreemptionArgs(Buffer.from(JSON.stringify({ NodeNameToMetaVictims: meta })));
    const answer = JSON.parse(preemptionResult(victims));
    const n1 = { Pods: [{ UID: 'u1' }, { UID: 'u2' }], NumPDBViolations: 1 };
    assert.deepEqual(answer, { NodeNameToMetaVictims: { n1 } });
  });

  it('is refused without a map, or with a pod that has no id', () => {
    for (const value of [
      {},
      { NodeNameToMetaVictims: [] },
      { NodeNameToMetaVictims: { n: { Pods: [{}] } } },
      { NodeNameToVictims: { n: { Pods: 1 } } },
    ])
      assert.throws(() => parsePreemptionArgs(Buffer.from(JSON.stringify(value))), { code: 'INVALID_ARGUMENT' });
  });
});
