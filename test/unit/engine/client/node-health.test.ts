import assert from 'node:assert/strict';
import { Deadline } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { type NodeId, nodeId } from '../../../../engine/blob/index.ts';
import { type NodeConnector, NodeHealth, type NodeLink } from '../../../../engine/client/index.ts';
import { WatchedConnection } from '../../../../engine/client/watched-connection.ts';
import type { NodeClient } from '../../../../engine/protocol/index.ts';
import type { Connection, Reply } from '../../../../engine/transport/index.ts';
import { sampleMap, sampleNodes } from '../placement/sample-map.ts';
import { FakeMaps } from './fake-cluster.ts';

const N0 = nodeId('n0');

/** Counts dials and answers them as told. */
class ScriptedConnector implements NodeConnector {
  refuse = false;
  hang = false;
  readonly dialledAtMs: number[] = [];
  readonly #clock: SimClock;
  #closed = Promise.withResolvers<Error | undefined>();

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  async connect(node: { id: NodeId }): Promise<NodeLink> {
    this.dialledAtMs.push(this.#clock.monotonicMs());
    if (this.hang) await new Promise(() => undefined);
    if (this.refuse) throw NabuError.of('UNAVAILABLE', { target: node.id, reason: 'connection refused' });
    const closed = Promise.withResolvers<Error | undefined>();
    this.#closed = closed;
    const client = { ping: async () => undefined } as Partial<NodeClient> as NodeClient;
    return { client, closed: closed.promise, close: () => closed.resolve(undefined) };
  }

  breakLink(): void {
    this.#closed.resolve(new Error('reset by peer'));
  }
}

describe('node health', () => {
  let clock: SimClock;
  let connector: ScriptedConnector;
  let maps: FakeMaps;
  let health: NodeHealth;
  let changes: number;

  beforeEach(() => {
    clock = new SimClock();
    connector = new ScriptedConnector(clock);
    maps = new FakeMaps(sampleMap(sampleNodes(3)));
    health = new NodeHealth({
      connector,
      maps,
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      firstRetryMs: 100,
      lastRetryMs: 1000,
    });
    changes = 0;
    health.onChange(() => changes++);
  });

  afterEach(() => health.close());

  const ping = async (): Promise<void> => {
    using deadline = new Deadline({ clock, operation: 'ping', timeoutMs: 60_000 });
    await health.call(N0).ping({ deadline });
  };

  it('dials a node when it is first needed, once for all who ask', async () => {
    assert.equal(connector.dialledAtMs.length, 0);
    assert.equal(health.isUsable(N0), true);
    await Promise.all([ping(), ping(), ping()]);
    assert.equal(connector.dialledAtMs.length, 1);
    assert.deepEqual(health.statuses(), [{ nodeId: N0, state: 'up', failures: 0, reason: '' }]);
  });

  it('fails at once while a node is away, and dials it again at growing distances until it is back', async () => {
    connector.refuse = true;
    await assert.rejects(ping(), { code: 'UNAVAILABLE' });
    assert.equal(health.isUsable(N0), false);
    assert.equal(changes, 1);
    const dials = connector.dialledAtMs.length;
    await assert.rejects(ping(), { code: 'UNAVAILABLE' });
    assert.equal(connector.dialledAtMs.length, dials, 'a call dialled a node that is known to be away');
    await clock.advance(10_000);
    const gaps = connector.dialledAtMs.slice(1).map((atMs, at) => atMs - (connector.dialledAtMs[at] ?? 0));
    assert.ok((gaps[0] ?? 0) <= 100 && (gaps[0] ?? 0) >= 50, `${gaps[0]}`);
    assert.ok(Math.max(...gaps) <= 1000 && Math.max(...gaps) >= 500);
    assert.ok(gaps.length < 20);
    connector.refuse = false;
    await clock.advance(1000);
    assert.equal(health.isUsable(N0), true);
    assert.equal(changes, 2);
    await ping();
  });

  it('notices a lost connection without a call, and a dial that hangs', async () => {
    await ping();
    connector.hang = true;
    connector.breakLink();
    await clock.advance(1);
    assert.equal(health.isUsable(N0), false);
    assert.equal(health.statuses()[0]?.reason, 'reset by peer');
    await clock.advance(5000);
    assert.ok(connector.dialledAtMs.length >= 3, 'the hanging dial was not given up');
  });

  it('dials the new address of a node that moved, and forgets one that left the map', async () => {
    await ping();
    const [first, ...others] = sampleMap(sampleNodes(3)).nodes;
    assert.ok(first);
    maps.set({
      ...sampleMap(sampleNodes(3), 2),
      nodes: [{ ...first, address: { host: '127.0.0.1', port: 9 } }, ...others],
    });
    await ping();
    assert.equal(connector.dialledAtMs.length, 2);
    maps.set({ ...sampleMap(sampleNodes(3), 3), nodes: others });
    assert.equal(health.isUsable(N0), false);
    await assert.rejects(ping(), { code: 'NODE_NOT_FOUND' });
  });

  it('does not write to a node that the map says is down or draining', () => {
    maps.set(
      sampleMap(
        [
          { id: 'n0', state: 'down' },
          { id: 'n1', state: 'draining' },
        ],
        2,
      ),
    );
    assert.equal(health.isUsable(nodeId('n1')), false);
    assert.equal(health.isUsable(N0), false);
    assert.equal(health.isReachable(N0), true);
  });
});

describe('watched connection', () => {
  const deadline = new Deadline({ clock: new SimClock(), operation: 'a test', timeoutMs: 1e6 });
  const request = { op: 14, meta: Buffer.alloc(0), mapEpoch: 1, deadline };

  it('takes a peer for dead that owes answers and gives none, but not one that is slow with a single one', async () => {
    const clock = new SimClock();
    const pending: PromiseWithResolvers<Reply>[] = [];
    let closed = false;
    const inner: Connection = {
      request: () => {
        const reply = Promise.withResolvers<Reply>();
        pending.push(reply);
        return reply.promise;
      },
      close: () => {
        closed = true;
      },
      closed: new Promise(() => undefined),
      peer: { clusterId: '', nodeId: 'n0', deviceId: '', incarnation: 0n, fencesComplete: true, label: '' },
    };
    const hints: number[] = [];
    const watched = new WatchedConnection(inner, {
      clock,
      stallMs: 1000,
      mapEpoch: () => 3,
      newerMap: (epoch) => hints.push(epoch),
    });
    const slow = watched.request(request);
    for (let at = 0; at < 5; at++) {
      const quick = watched.request(request);
      await clock.advance(900);
      pending.at(-1)?.resolve({ status: 0, meta: Buffer.alloc(0), mapEpoch: at });
      await quick;
    }
    assert.equal(closed, false);
    assert.deepEqual(hints, [4]);
    await clock.advance(1100);
    assert.equal(closed, false, 'one look is not enough: this process may have stood still');
    await clock.advance(250);
    assert.equal(closed, true);
    assert.match((await watched.closed)?.message ?? '', /owes 1 answers/);
    slow.catch(() => undefined);
    const settled = pending[0];
    settled?.reject(new Error('closed'));
    await assert.rejects(slow);
  });
});
