import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SimClock } from '../../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../../scheduler-extender/decide/index.ts';
import { Reservations } from '../../../../scheduler-extender/reservations/index.ts';
import { TestCluster } from '../../../support/extender/objects.ts';

/** Bodies that kube-scheduler v1.36.3 has sent: test/kube/scheduler/extender.test.ts records them with NABU_RECORD=1. */
const FOLDER = join(import.meta.dirname, '../../../fixtures/extender');
const golden = (name: string): Buffer => readFileSync(join(FOLDER, `${name}.json`));

function extender(): { asked: Extender; cluster: TestCluster; reservations: Reservations } {
  const cluster = new TestCluster()
    .storageClass('fast', { policy: 'replica:3' })
    .capacity('zone-a', 'fast', '10Gi', 'a');
  cluster.node('near', { zone: 'a' }, 4).node('full', { zone: 'a' }, 0).node('other', { zone: 'b' }, 4);
  // The recorded pods are of the namespace 'default'.
  for (const name of ['c1', 'c3']) {
    const claim = {
      key: `default/${name}`,
      uid: `uid-${name}`,
      className: 'fast',
      sizeBytes: 2 ** 30,
      accessModes: [],
      volumeName: '',
      selectedNode: '',
    };
    cluster.index.put('claim', claim);
  }
  const reservations = new Reservations(new SimClock());
  return { asked: new Extender({ index: cluster.index, reservations, rules: DEFAULT_RULES }), cluster, reservations };
}

describe('what a real scheduler sends', () => {
  it('is filtered by names', () => {
    const { asked, reservations } = extender();
    const answer = JSON.parse(asked.filter(golden('filter-names')).answer.toString());
    assert.deepEqual(answer.NodeNames, ['near']);
    assert.match(answer.FailedAndUnresolvableNodes.other, /has no capacity in zone b/);
    assert.equal(reservations.heldBytes([]), 3 * 2 ** 30);
  });

  it('is filtered by whole nodes, which go back byte for byte', () => {
    const { asked } = extender();
    const body = golden('filter-nodes');
    const answer = JSON.parse(asked.filter(body).answer.toString());
    assert.deepEqual(answer.Nodes.items, JSON.parse(body.toString()).Nodes.items);
  });

  it('is prioritized either way', () => {
    const { asked } = extender();
    for (const name of ['prioritize-names', 'prioritize-nodes']) {
      const { NodeNames, Nodes } = JSON.parse(golden(name).toString());
      const names: string[] =
        NodeNames ?? Nodes.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name);
      const explained = new Map(asked.explain(golden(name)).nodes.map(({ node, score }) => [node, score]));
      assert.deepEqual([...explained.keys()].sort(), [...names].sort());
      for (const score of explained.values()) assert.equal(score, 10, 'a pod that reads nothing is at home anywhere');
      assert.deepEqual(JSON.parse(asked.prioritize(golden(name)).toString()), [], 'and so no order is better');
    }
  });

  it('is asked about victims by id or whole', () => {
    const { asked } = extender();
    for (const name of ['preempt-meta-victims', 'preempt-victims']) {
      const sent = JSON.parse(golden(name).toString());
      const map = sent.NodeNameToMetaVictims ?? sent.NodeNameToVictims;
      const { NodeNameToMetaVictims: answer } = JSON.parse(asked.preempt(golden(name)));
      assert.deepEqual(Object.keys(answer), Object.keys(map), name);
      for (const { Pods } of Object.values<{ Pods: { UID: string }[] }>(answer))
        assert.match(Pods[0]?.UID ?? '', /^[0-9a-f-]{36}$/);
    }
  });
});
