import assert from 'node:assert/strict';
import fc from 'fast-check';
import { localityReportFacts } from '../../../../scheduler-extender/kube/index.ts';
import { type Given, reportObject, TestCluster } from '../../../support/extender/objects.ts';

const model = (id: string, cachedBytes: number, given: Given = {}): Given => {
  return { kind: 'Model', id, sizeBytes: 1000, cachedBytes, ...given };
};

function report(cluster: TestCluster, node: string, contents: readonly Given[], spec: Given = {}): void {
  cluster.index.put('report', localityReportFacts(reportObject(node, contents, spec)));
}

describe('what nodes report of themselves', () => {
  let cluster: TestCluster;
  beforeEach(() => {
    cluster = new TestCluster();
    for (const name of ['a', 'b', 'c']) cluster.node(name);
  });
  const found = (name: string): string | undefined => {
    const content = cluster.index.storage.content('model', name);
    if (content === undefined) return undefined;
    const holders = content.holders.map(({ node, bytes }) => `${node}=${bytes}`).sort();
    return `${content.id} of ${content.sizeBytes}: ${holders.join(' ')}`;
  };

  it('is put together by content, and goes with its report', () => {
    report(cluster, 'a', [model('m', 600, { names: ['llama'] })]);
    report(cluster, 'b', [model('m', 1000), model('other', 5)]);
    assert.equal(found('m'), 'm of 1000: a=600 b=1000');
    assert.equal(found('llama'), found('m'));
    report(cluster, 'b', [model('other', 5)]);
    assert.equal(found('m'), 'm of 1000: a=600');
    cluster.index.remove('report', 'a');
    assert.deepEqual([found('m'), found('llama')], [undefined, undefined]);
    cluster.index.remove('report', 'b');
    assert.deepEqual(cluster.index.localities.counts, { reports: 0, contents: 0 });
  });

  it('decides with the others about size and name, so that one that lies moves only what it says of itself', () => {
    for (const name of ['a', 'b']) report(cluster, name, [model('m', 900, { names: ['llama'] })]);
    report(cluster, 'c', [
      model('m', 10 ** 12, { sizeBytes: 10 ** 12 }),
      model('llama', 7),
      model('evil', 1, { names: ['llama', 'm'] }),
    ]);
    assert.equal(found('m'), 'm of 1000: a=900 b=900 c=1000');
    assert.equal(found('llama'), found('m'));
  });

  it('counts as lying on storage nodes where most say that it does', () => {
    cluster.index.put('storageNode', {
      id: 's',
      host: 's',
      zone: 'a',
      rack: 'r9',
      state: 'up',
      capacityBytes: 1,
      load: 0,
      rttUs: new Map(),
      cutOffZones: [],
    });
    const onStorage = (): number => {
      const content = cluster.index.storage.content('model', 'm');
      return content === undefined ? 0 : cluster.index.storage.spreadOfContent(content).all.share;
    };
    report(cluster, 'a', [model('m', 500, { stored: true })]);
    assert.equal(onStorage(), 1.5);
    report(cluster, 'b', [model('m', 500)]);
    assert.equal(onStorage(), 1);
  });

  it('is as far from storage nodes as those measure, from each rack, and follows what they measure next', () => {
    const put = (us: number): void =>
      cluster.index.put('storageNode', {
        id: 's',
        host: 's',
        zone: 'a',
        rack: 'r9',
        state: 'up',
        capacityBytes: 1,
        load: 0,
        rttUs: new Map([
          ['a', us],
          ['a/r1', us / 2],
        ]),
        cutOffZones: [],
      });
    const rttFrom = (zone: string, rack: string): number | undefined => {
      const content = cluster.index.storage.content('model', 'm');
      assert(content !== undefined);
      return cluster.index.storage.spreadOfContent(content).measuredRttS(cluster.index.nodes.places.of(zone, rack, ''));
    };
    put(100);
    report(cluster, 'a', [model('m', 500, { stored: true })]);
    assert.deepEqual([rttFrom('a', 'r1'), rttFrom('a', 'new'), rttFrom('b', 'r1')], [50e-6, 100e-6, undefined]);
    put(200);
    assert.deepEqual([rttFrom('a', 'r1'), rttFrom('a', 'new'), rttFrom('b', 'r1')], [100e-6, 200e-6, undefined]);
  });

  it('tells how busy the link is, until it does not', () => {
    const load = (): number | undefined => cluster.index.nodes.linkLoad[cluster.index.nodes.names.find('a')];
    report(cluster, 'a', [], { linkLoadPercent: 40 });
    assert.equal(load(), 0.4);
    report(cluster, 'a', []);
    assert.equal(load(), 0);
    report(cluster, 'a', [], { linkLoadPercent: 70 });
    cluster.index.remove('report', 'a');
    assert.equal(load(), 0);
  });

  it('is derived anew only where something has changed by a hundredth', () => {
    report(cluster, 'a', [model('m', 500)]);
    const before = cluster.index.storage.content('model', 'm');
    report(cluster, 'a', [model('m', 505)]);
    assert.equal(cluster.index.storage.content('model', 'm'), before);
    report(cluster, 'a', [model('m', 510)]);
    assert.equal(found('m'), 'm of 1000: a=510');
  });

  it('may be a little late where thousands have it, and not for long', () => {
    const holders = (): number => cluster.index.storage.content('model', 'm')?.holders.length ?? 0;
    for (let at = 0; at < 1000; at++) report(cluster, `n${at}`, [model('m', 500)]);
    assert.equal(holders(), 1000);
    for (let at = 0; at < 50; at++) cluster.index.remove('report', `n${at}`);
    assert.equal(holders(), 1000);
    for (let at = 50; at < 60; at++) cluster.index.remove('report', `n${at}`);
    assert.equal(holders(), 940);
    cluster.index.remove('report', 'n60');
    const looks = Array.from({ length: 256 }, holders);
    assert.deepEqual([looks[0], looks.at(-1)], [940, 939]);
  });

  it('is the same after any order of reports as of the last ones alone', () => {
    const few = (prefix: string) => fc.integer({ min: 0, max: 3 }).map((at) => `${prefix}${at}`);
    const held = fc.record({
      id: few('m'),
      cachedBytes: fc.integer({ min: 0, max: 10 }).map((tenth) => tenth * 100),
      names: fc.uniqueArray(few('m'), { maxLength: 2 }),
      stored: fc.boolean(),
    });
    const contents = fc.uniqueArray(held, { maxLength: 3, selector: ({ id }) => id });
    const step = fc.record({ node: few('n'), contents: fc.option(contents, { nil: undefined }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const [all, last] = [new TestCluster(), new TestCluster()];
        const left = new Map<string, readonly Given[]>();
        for (const { node, contents: told } of steps) {
          left.delete(node);
          if (told === undefined) all.index.remove('report', node);
          else {
            const given = told.map(({ id, cachedBytes, ...rest }) => model(id, cachedBytes, rest));
            report(all, node, given);
            left.set(node, given);
          }
        }
        for (const [node, given] of left) report(last, node, given);
        assert.deepEqual(all.index.localities.counts, last.index.localities.counts);
        for (const name of ['m0', 'm1', 'm2', 'm3']) {
          const [one, other] = [all, last].map(({ index }) => index.storage.content('model', name));
          assert.deepEqual(plain(one), plain(other));
        }
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});

function plain(content: ReturnType<TestCluster['index']['storage']['content']>): unknown {
  if (content === undefined) return undefined;
  const holders = content.holders.map(({ node, bytes }) => [node, bytes]).sort();
  return { ...content, names: [...content.names].sort(), holders };
}
