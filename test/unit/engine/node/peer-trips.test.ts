import assert from 'node:assert/strict';
import { epoch, nodeId } from '../../../../engine/blob/index.ts';
import { PeerTrips } from '../../../../engine/node/peer-trips.ts';
import type { ClusterMap, MapNode } from '../../../../engine/placement/index.ts';

function node(id: string, zone: string, rack: string): MapNode {
  const address = { host: '127.0.0.1', port: 1 };
  return { id: nodeId(id), address, domain: { zone, rack, host: id }, weight: 1, state: 'up' };
}

const map = (nodes: readonly MapNode[]): ClusterMap => ({ clusterId: 'c1'.repeat(16), epoch: epoch(1), nodes });

describe('round trips to peers', () => {
  const peers = [node('self', 'a', 'r1'), node('a2', 'a', 'r1'), node('a3', 'a', 'r2'), node('b1', 'b', 'r1')];
  let trips: PeerTrips;
  beforeEach(() => {
    trips = new PeerTrips('self');
  });

  it('are measured with one peer of each rack in a round, by turns, and never with itself', () => {
    const many = map([...peers, node('b2', 'b', 'r1'), { ...node('b3', 'b', 'r1'), state: 'down' }]);
    const asked = Array.from({ length: 4 }, () =>
      trips
        .begin(many)
        .map(({ id }) => id)
        .sort()
        .join(' '),
    );
    assert.deepEqual(asked, ['a2 a3 b1', 'a2 a3 b2', 'a2 a3 b1', 'a2 a3 b2']);
  });

  it('come round to every rack of a cluster with more than fit into a round', () => {
    const wide = map(Array.from({ length: 300 }, (_, at) => node(`n${at}`, 'a', `r${at % 100}`)));
    const asked = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const targets = trips.begin(wide);
      assert.equal(targets.length, 32);
      for (const { id } of targets) asked.add(id);
    }
    assert.equal(asked.size, 300);
  });

  it('are told smoothed by zone and by rack, as long as the peer answers', () => {
    for (const us of [100, 200]) {
      for (const peer of trips.begin(map(peers))) {
        if (peer.id === 'b1') trips.silent(peer);
        else trips.answered(peer, peer.id === 'a2' ? us : us * 3);
      }
    }
    assert.deepEqual(trips.report().roundTrips, [
      { zone: 'a', rack: '', microseconds: 390 },
      { zone: 'a', rack: 'r1', microseconds: 130 },
      { zone: 'a', rack: 'r2', microseconds: 390 },
    ]);
  });

  it('of a peer that has moved or left are forgotten', () => {
    for (const peer of trips.begin(map(peers))) trips.answered(peer, 10);
    trips.begin(map([peers[0] ?? node('x', 'x', 'x'), node('a2', 'c', 'r1')]));
    assert.deepEqual(trips.report().roundTrips, []);
  });

  describe('to a zone that is silent', () => {
    const zones = map([...peers, node('b2', 'b', 'r2')]);
    const round = (answers: (peer: MapNode) => 'answered' | 'silent' | 'refused'): readonly string[] => {
      for (const peer of trips.begin(zones)) {
        const said = answers(peer);
        if (said === 'answered') trips.answered(peer, 10);
        else trips[said](peer);
      }
      return [...(trips.report().silentZones ?? [])];
    };
    const inA = ({ domain }: MapNode): 'answered' | 'silent' => (domain.zone === 'a' ? 'answered' : 'silent');

    it('are missing for three rounds before that is said, and not after one answer', () => {
      assert.deepEqual([round(inA), round(inA), round(inA)], [[], [], ['b']]);
      assert.deepEqual(
        round((peer) => (peer.id === 'b1' ? 'answered' : inA(peer))),
        [],
      );
    });

    it('say nothing of it while nobody else answers either', () => {
      for (let at = 0; at < 5; at++)
        assert.deepEqual(
          round(() => 'silent'),
          [],
        );
    });

    it('say nothing of it where hosts answer that nobody listens', () => {
      for (let at = 0; at < 5; at++)
        assert.deepEqual(
          round((peer) => (peer.domain.zone === 'a' ? 'answered' : 'refused')),
          [],
        );
    });
  });
});
