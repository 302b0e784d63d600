import assert from 'node:assert/strict';
import { SimClock } from '../../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../../scheduler-extender/decide/index.ts';
import { localityReportFacts } from '../../../../scheduler-extender/kube/index.ts';
import { Reservations } from '../../../../scheduler-extender/reservations/index.ts';
import { podObject, reportObject, TestCluster } from '../../../support/extender/objects.ts';

const NODES = ['n1', 'n2', 'n3'];
const GIB = 2 ** 30;

describe('an order that was worked out before it is asked for', () => {
  let cluster: TestCluster;
  let extender: Extender;

  beforeEach(() => {
    cluster = new TestCluster();
    for (const [at, name] of NODES.entries()) cluster.node(name, { zone: `z${at}` });
    extender = new Extender({
      index: cluster.index,
      reservations: new Reservations(new SimClock()),
      rules: DEFAULT_RULES,
    });
    holds('n1');
  });

  function holds(node: string): void {
    const contents = [{ kind: 'Model', id: 'm', sizeBytes: 100 * GIB, cachedBytes: 100 * GIB }];
    cluster.index.put('report', localityReportFacts(reportObject(node, contents)));
  }
  const ask = (pod: string, names: readonly string[] = NODES): Buffer =>
    Buffer.from(
      JSON.stringify({ Pod: podObject(pod, { annotations: { 'nabustore.io/models': 'm' } }), NodeNames: names }),
    );
  const hosts = (body: Buffer): string[] =>
    (JSON.parse(extender.prioritize(body).toString()) as { Host: string }[]).map(({ Host }) => Host);

  it('is the one that would have been found', () => {
    const found = hosts(ask('p'));
    assert.deepEqual(found, ['n1']);
    extender.prepare(ask('p'));
    assert.deepEqual(hosts(ask('p')), found);
    assert.equal(extender.prioritize(ask('p')), extender.prioritize(ask('p')), 'and found once');
  });

  it('is dropped with whatever is heard before it is asked for', () => {
    extender.prepare(ask('p'));
    holds('n3');
    assert.deepEqual(hosts(ask('p')), ['n1', 'n3']);
    extender.prepare(ask('p'));
    cluster.index.remove('report', 'n1');
    assert.deepEqual(hosts(ask('p')), ['n3']);
  });

  it('outlives what is heard of other pods, unless it depends on them', () => {
    const near = (given: string): Buffer => {
      const Pod = podObject('p', { annotations: { 'nabustore.io/models': 'm', 'nabustore.io/near': given } });
      return Buffer.from(JSON.stringify({ Pod, NodeNames: NODES }));
    };
    const isKept = (body: Buffer): boolean => {
      extender.prepare(body);
      const before = extender.prioritize(body);
      cluster.pod('other', { node: 'n3', labels: { 'nabustore.io/group': 'team' } });
      return extender.prioritize(body) === before;
    };
    assert(isKept(ask('p')));
    assert(!isKept(near('group:team')));
  });

  it('answers no other question', () => {
    extender.prepare(ask('p'));
    assert.deepEqual(hosts(ask('p', ['n2', 'n1'])), ['n1']);
    assert.deepEqual(hosts(ask('p', ['n2', 'n3'])), []);
    assert.notEqual(extender.prioritize(ask('q')), extender.prioritize(ask('q')), 'which nobody has prepared');
  });

  it('is not worked out for a body so large that it would not be kept', () => {
    const body = Buffer.concat([ask('p'), Buffer.alloc(1 << 20, ' ')]);
    extender.prepare(body);
    assert.notEqual(extender.prioritize(body), extender.prioritize(body));
    assert.deepEqual(hosts(body), ['n1']);
  });

  it('is none where the question cannot be answered: the one who asks is told why', () => {
    const body = Buffer.from('{"Pod":{},"NodeNames":["n1","n2"');
    extender.prepare(body);
    assert.throws(() => extender.prioritize(body), { code: 'INVALID_ARGUMENT' });
  });
});
