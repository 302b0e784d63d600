import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { volumeId } from '../../../../engine/blob/index.ts';
import { FenceTakeover, fencePeersNeeded } from '../../../../engine/node/index.ts';
import { MemoryNode, mapOf } from '../../../support/memory-node.ts';

const SIX = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];
const owner = (n: number) => volumeId(n.toString(16).padStart(32, '0'));

describe('the number of peers that a take-over of fences needs', () => {
  it('is a majority, more than m, and never more than there are', () => {
    assert.equal(fencePeersNeeded(mapOf(1, SIX), 'node-1', 2), 4);
    assert.equal(fencePeersNeeded(mapOf(1, SIX), 'node-1', 4), 5);
    assert.equal(fencePeersNeeded(mapOf(1, SIX.slice(0, 3)), 'node-1', 2), 2);
    assert.equal(fencePeersNeeded(mapOf(1, ['node-1']), 'node-1', 2), 0);
  });
});

describe('the take-over of fences', () => {
  const nodes: MemoryNode[] = [];
  const start = async (id: string, genesis: boolean): Promise<MemoryNode> => {
    const node = await MemoryNode.start({ id, genesis, map: mapOf(5, SIX) });
    nodes.push(node);
    return node;
  };
  afterEach(async () => {
    for (const node of nodes.splice(0)) await node[Symbol.asyncDispose]();
  });

  /** Peers by their clients; those that are not named cannot be reached. */
  const takeoverOf = (
    emptied: MemoryNode,
    peers: Readonly<Record<string, MemoryNode>>,
    clock: SimClock,
    askMaxParity?: () => Promise<number>,
  ) =>
    new FenceTakeover({
      ...(askMaxParity === undefined ? {} : { askMaxParity }),
      store: emptied.store,
      map: emptied.map,
      connect: async ({ id }) => {
        const peer = peers[id];
        if (peer === undefined) throw NabuError.of('UNAVAILABLE', { target: id, reason: 'it is down' });
        return { client: peer.client, close: () => undefined };
      },
      clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      maxParity: 2,
    });

  const fence = (generation: bigint) => ({ generation, incarnation: 0n });

  it('copies every page of every peer, keeps the highest fence and the newest note, and only then completes', async () => {
    const emptied = await start('node-1', false);
    const peers: Record<string, MemoryNode> = {};
    for (const id of SIX.slice(1, 5)) peers[id] = await start(id, true);
    const all = Object.values(peers);
    for (let n = 1; n <= 300; n++) await all[0]?.store.setOwner(owner(n), { fence: fence(1n), homeSetVersion: 1n });
    await all[1]?.store.setOwner(owner(7), {
      fence: fence(9n),
      homeSetVersion: 4n,
      note: Buffer.from('new'),
      noteVersion: 5n,
    });
    await all[2]?.store.setOwner(owner(7), {
      fence: fence(8n),
      homeSetVersion: 1n,
      note: Buffer.from('old'),
      noteVersion: 2n,
    });
    const clock = new SimClock();
    const takeover = takeoverOf(emptied, peers, clock);
    assert.equal(takeover.progress().complete, false);
    const done = takeover.run(new AbortController().signal);
    await settleUntil(clock, () => emptied.store.identity.fencesComplete);
    await done;
    assert.equal(emptied.store.listOwners(undefined, 1024).length, 300);
    const seven = emptied.store.getOwner(owner(7));
    assert.deepEqual(seven?.fence, fence(9n));
    assert.equal(seven?.homeSetVersion, 4n);
    assert.equal(Buffer.from(seven?.note ?? []).toString(), 'new');
    assert.equal(takeover.progress().complete, true);
  });

  it('counts neither peers that are away nor peers that are incomplete themselves, and goes on asking', async () => {
    const emptied = await start('node-1', false);
    const peers: Record<string, MemoryNode> = {};
    for (const id of ['node-2', 'node-3']) peers[id] = await start(id, true);
    const alsoEmptied = await start('node-4', false);
    peers['node-4'] = alsoEmptied;
    const clock = new SimClock();
    const takeover = takeoverOf(emptied, peers, clock);
    const stop = new AbortController();
    const done = takeover.run(stop.signal);
    await settleUntil(
      clock,
      () => takeover.progress().answered.length === 2 && /missing/.test(takeover.progress().reason),
    );
    assert.match(
      takeover.progress().reason,
      /2 of 4 peers.*node-4 \(its own table is incomplete\).*node-5 \(UNAVAILABLE\)/,
    );
    assert.equal(emptied.store.identity.fencesComplete, false);
    peers['node-5'] = await start('node-5', true);
    await alsoEmptied.store.setFencesComplete();
    await settleUntil(clock, () => emptied.store.identity.fencesComplete);
    await done;
  });

  it('needs more peers when a policy in use bears more losses, and goes by what it knew while nobody tells', async () => {
    const emptied = await start('node-1', false);
    const stop = new AbortController();
    const clock = new SimClock();
    let asked = 0;
    const takeover = takeoverOf(emptied, {}, clock, async () => {
      if (asked++ > 0) throw NabuError.of('UNAVAILABLE', { target: 'control', reason: 'away' });
      return 4;
    });
    const done = takeover.run(stop.signal);
    assert.equal(takeover.progress().needed, 4);
    await settleUntil(clock, () => asked > 2);
    assert.match(takeover.progress().reason, /0 of 5 peers/);
    stop.abort();
    await done;
  });

  it('ends when told to', async () => {
    const emptied = await start('node-1', false);
    const stop = new AbortController();
    const done = takeoverOf(emptied, {}, new SimClock()).run(stop.signal);
    stop.abort();
    await done;
    assert.equal(emptied.store.identity.fencesComplete, false);
  });
});

/** Moves simulated time on, with real turns of the event loop in between for the sockets. */
async function settleUntil(clock: SimClock, condition: () => boolean): Promise<void> {
  while (!condition()) {
    await clock.advance(50);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}
