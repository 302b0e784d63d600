import assert from 'node:assert/strict';
import { SimClock } from '../../../../common/ports/index.ts';
import { DEFAULT_RULES, Extender } from '../../../../scheduler-extender/decide/index.ts';
import { Reservations } from '../../../../scheduler-extender/reservations/index.ts';
import { type PodGiven, podObject, TestCluster } from '../../../support/extender/objects.ts';

function setUp(cluster: TestCluster) {
  let told = 0;
  const reservations = new Reservations(new SimClock());
  const onLackingRoom = (): void => {
    told++;
  };
  const extender = new Extender({ index: cluster.index, reservations, rules: DEFAULT_RULES, onLackingRoom });
  const ask = (
    verb: 'filter' | 'prioritize' | 'explain',
    name: string,
    given: PodGiven,
    nodes = ['n1', 'n2'],
  ): number => {
    const before = told;
    extender[verb](Buffer.from(JSON.stringify({ Pod: podObject(name, given), Nodes: null, NodeNames: nodes })));
    return told - before;
  };
  return { ask, reservations };
}

describe('want of room', () => {
  const zones = (): TestCluster =>
    new TestCluster().storageClass('fast').node('n1', { zone: 'x' }).node('n2', { zone: 'y' });

  it('is told of when a pod can go nowhere because of what is reserved', () => {
    const { ask } = setUp(zones().capacity('everywhere', 'fast', '1Gi').claim('c').claim('d'));
    assert.equal(ask('filter', 'p', { claims: ['c'] }), 0);
    assert.equal(ask('filter', 'q', { claims: ['d'] }), 1);
    assert.equal(ask('explain', 'q', { claims: ['d'] }), 0, 'nobody waits for that answer');
  });

  it('is told of by what control says as well', () => {
    const { ask } = setUp(
      zones()
        .storage(['x', 'x', 'x', 'y', 'y', 'y'], { capacityBytes: 2 ** 20 })
        .claim('c'),
    );
    assert.equal(ask('filter', 'p', { claims: ['c'] }), 1);
  });

  it('is told of where some nodes are refused for it, and the others for something else', () => {
    const { ask } = setUp(zones().capacity('of-x', 'fast', '1Mi', 'x').capacity('of-y', 'fast', '1Gi', 'y').claim('c'));
    const devices = { 'nabustore.io/rdma': '1' };
    assert.equal(ask('filter', 'p', { claims: ['c'], devices }), 1);
  });

  it('is not told of where there is a node with room, nor where room is not what is wanting', () => {
    const cluster = zones().capacity('of-x', 'fast', '1Mi', 'x').capacity('of-y', 'fast', '1Gi', 'y').claim('c');
    const { ask } = setUp(cluster);
    assert.equal(ask('filter', 'p', { claims: ['c'] }), 0);
    assert.equal(ask('filter', 'q', { devices: { 'nabustore.io/rdma': '1' } }), 0);
    assert.equal(ask('filter', 'r', { claims: ['c'] }, ['nobody-knows']), 0);
  });
});
