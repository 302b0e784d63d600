import assert from 'node:assert/strict';
import { SimClock } from '../../../../common/ports/index.ts';
import { parsePolicy } from '../../../../engine/blob/index.ts';
import { ReservationKeeper, Reservations } from '../../../../scheduler-extender/reservations/index.ts';
import { TestCluster } from '../../../support/extender/objects.ts';

const TIMES = { promisedMs: 1000, provisioningMs: 10_000, settlingMs: 3000 };
const RULES = { defaultPolicy: parsePolicy('ec:4+2'), assumedFill: 0.5, nearBytes: 1 };
const one = (name: string, rawBytes = 10) => ({ claimKey: `ns/${name}`, claimUid: `uid-claim-${name}`, rawBytes });

describe('reservations', () => {
  it('are one per claim, replaced when the pod is asked about again, and not held against it', () => {
    const held = new Reservations(new SimClock(), TIMES);
    held.promise('p', [one('a'), one('b')]);
    held.promise('p', [one('a'), one('b')]);
    assert.equal(held.heldBytes([]), 20);
    assert.equal(held.heldBytes([one('a')]), 10);
    held.promise('p', [one('b')]);
    assert.equal(held.heldBytes([]), 10);
    held.promise('other', [one('b')]);
    assert.equal(held.heldBytes([]), 10);
    held.withdraw('other');
    assert.equal(held.heldBytes([]), 0);
  });

  it('end when their time does', async () => {
    const clock = new SimClock();
    const held = new Reservations(clock, TIMES);
    held.promise('p', [one('a')]);
    await clock.advance(600);
    held.promise('q', [one('b')]);
    await clock.advance(600);
    assert.equal(held.heldBytes([]), 10);
    await clock.advance(600);
    assert.equal(held.heldBytes([]), 0);
    assert.deepEqual(held.counts, { promised: 0, provisioning: 0, settling: 0 });
  });

  it('go on while a volume is being made, whatever happens to the pod', () => {
    const held = new Reservations(new SimClock(), TIMES);
    held.promise('p', [one('a')]);
    held.provisioning(one('a'));
    held.withdraw('p');
    assert.equal(held.heldBytes([]), 10, 'a volume that is being made is made');
    held.gaveUp('ns/a');
    assert.equal(held.heldBytes([]), 0);
  });

  it('end with the volume, but not for published capacities, which show it when they fall by it', () => {
    const held = new Reservations(new SimClock(), TIMES);
    for (const key of ['x', 'y']) held.published(key, 0);
    held.promise('p', [one('a'), one('b')]);
    held.made('ns/a');
    held.made('ns/b');
    assert.deepEqual([held.heldBytes([]), held.unpublishedBytes('x', []), held.unpublishedBytes('y', [])], [0, 20, 20]);
    held.published('x', 10);
    assert.deepEqual([held.unpublishedBytes('x', []), held.unpublishedBytes('y', [])], [10, 20]);
    held.published('x', 10);
    held.published('x', 0);
    held.published('y', -500);
    assert.deepEqual([held.unpublishedBytes('x', []), held.unpublishedBytes('y', [])], [0, 20]);
  });

  it('count once where a published capacity falls before the volume is heard of', () => {
    const held = new Reservations(new SimClock(), TIMES);
    held.published('x', 0);
    for (const name of ['a', 'b', 'c']) held.provisioning(one(name));
    assert.equal(held.unpublishedBytes('x', []), 30);
    held.published('x', 20);
    assert.deepEqual([held.heldBytes([]), held.unpublishedBytes('x', [])], [30, 10]);
    assert.equal(
      held.unpublishedBytes('x', [one('a')]),
      0,
      'a claim that is asked about again takes no more than it has',
    );
    held.made('ns/a');
    held.made('ns/b');
    assert.equal(held.unpublishedBytes('x', []), 10);
    held.published('x', 500);
    assert.equal(held.unpublishedBytes('x', []), 0, 'what else a figure falls by is nothing that was made');
    held.gaveUp('ns/c');
    assert.equal(held.unpublishedBytes('x', []), 0);
    held.provisioning(one('d'));
    held.published('x', 0);
    held.promise('p', [one('e')]);
    assert.equal(held.unpublishedBytes('x', [one('d')]), 10, 'nor is it of one that is made later');
  });

  it('are surely shown by what was published a moment later, or a long while after', async () => {
    const clock = new SimClock();
    const held = new Reservations(clock, TIMES);
    held.promise('p', [one('a')]);
    held.made('ns/a');
    await clock.advance(500);
    held.published('x', 0);
    assert.equal(held.unpublishedBytes('x', []), 10, 'measured perhaps before the volume was there');
    await clock.advance(501);
    held.published('x', -100);
    assert.deepEqual([held.unpublishedBytes('x', []), held.unpublishedBytes('y', [])], [0, 10]);
    await clock.advance(2000);
    assert.equal(held.unpublishedBytes('y', []), 0);
    assert.equal(held.counts.settling, 0);
  });
});

describe('room that comes back', () => {
  /** Whether it does by what is done. */
  const returnsBy = (held: Reservations, act: () => void): boolean => {
    const before = held.returns;
    act();
    return held.returns > before;
  };

  it('is counted when a promise lapses, is withdrawn or is for less, and when a choice is taken back', async () => {
    const clock = new SimClock();
    const held = new Reservations(clock, TIMES);
    held.promise('p', [one('a'), one('b')]);
    assert(!returnsBy(held, () => held.promise('p', [one('a'), one('b')])), 'it is promised again');
    assert(returnsBy(held, () => held.promise('p', [one('a')])));
    assert(returnsBy(held, () => held.withdraw('p')));
    assert(!returnsBy(held, () => held.withdraw('p')));
    held.promise('p', [one('a', 20)]);
    assert(returnsBy(held, () => held.provisioning(one('a', 10))));
    assert(!returnsBy(held, () => held.provisioning(one('a', 10))));
    assert(returnsBy(held, () => held.gaveUp('ns/a')));
    held.promise('q', [one('c')]);
    await clock.advance(1001);
    assert(returnsBy(held, () => held.lapse()));
    assert(!returnsBy(held, () => held.lapse()));
  });

  it('is not counted when what was reserved becomes a volume', () => {
    const held = new Reservations(new SimClock(), TIMES);
    held.published('x', 0);
    const { returns } = held;
    held.promise('p', [one('a')]);
    held.provisioning(one('a'));
    held.made('ns/a');
    held.published('x', 10);
    held.drop('ns/a');
    held.lapse();
    assert.equal(held.returns, returns);
  });

  it('is counted when a published capacity rises, or falls by less than it no longer hides', async () => {
    const clock = new SimClock();
    const held = new Reservations(clock, TIMES);
    assert(returnsBy(held, () => held.published('x', -100)));
    held.promise('p', [one('a')]);
    held.made('ns/a');
    await clock.advance(1001);
    assert(
      returnsBy(held, () => held.published('x', 4)),
      'the volume took less than was reserved for it',
    );
    assert(!returnsBy(held, () => held.published('x', 0)));
  });

  it('is counted when a volume is so old that what was published must show it, unless that does', async () => {
    const clock = new SimClock();
    for (const isShown of [true, false]) {
      const held = new Reservations(clock, TIMES);
      held.published('x', -100);
      held.promise('p', [one('a')]);
      held.made('ns/a');
      if (isShown) held.published('x', 10);
      held.lapse();
      await clock.advance(3001);
      assert.equal(
        returnsBy(held, () => held.lapse()),
        !isShown,
      );
      assert(!returnsBy(held, () => held.lapse()));
    }
  });
});

describe('what the API shows of placing', () => {
  function setUp(storage: boolean): { cluster: TestCluster; held: Reservations; clock: SimClock } {
    const cluster = new TestCluster().storageClass('fast').node('n1', { zone: 'x' });
    if (storage) cluster.storage(['x', 'x', 'x', 'x', 'x', 'x']);
    const clock = new SimClock();
    const held = new Reservations(clock, TIMES);
    new ReservationKeeper(cluster.index, held, RULES);
    return { cluster, held, clock };
  }

  it('is charged also where another promised it: the node that a claim was decided for', () => {
    const { cluster, held } = setUp(false);
    cluster.claim('c', { size: '4Gi', selectedNode: 'n1' });
    assert.equal(held.heldBytes([]), 6 * 2 ** 30);
    cluster.claim('c', { size: '4Gi' });
    assert.equal(held.heldBytes([]), 0, 'the provisioner took the decision back');
  });

  it('is found by a leader that starts in the middle of it', () => {
    const cluster = new TestCluster().storageClass('fast').node('n1').claim('c', { size: '4Gi', selectedNode: 'n1' });
    const held = new Reservations(new SimClock(), TIMES);
    new ReservationKeeper(cluster.index, held, RULES);
    assert.equal(held.heldBytes([]), 6 * 2 ** 30);
  });

  it('replaces the promise by the volume record, which may come before or after the binding', () => {
    for (const isRecordFirst of [true, false]) {
      const { cluster, held } = setUp(true);
      held.promise('uid-p', [one('c', 1.5 * 2 ** 30)]);
      const free = () => cluster.index.storage.freeBytes - held.heldBytes([]);
      const before = free();
      if (isRecordFirst) cluster.record('c').bound('c');
      else {
        cluster.bound('c');
        assert.equal(free(), before, 'bound, but no record yet');
        cluster.record('c');
      }
      assert.equal(free(), before, 'no byte is counted twice, none is forgotten');
      assert.equal(held.counts.settling, 1);
    }
  });

  it('sees a published capacity fall by what was made, counted with parity', () => {
    const { cluster, held } = setUp(false);
    cluster
      .capacity('cap', 'fast', '100Gi')
      .claim('c', { size: '4Gi', selectedNode: 'n1' })
      .bound('c', { size: '4Gi' });
    assert.equal(held.unpublishedBytes('ns/cap', []), 6 * 2 ** 30);
    cluster.capacity('cap', 'fast', '96Gi');
    assert.equal(held.unpublishedBytes('ns/cap', []), 0);
  });

  it('lets go of what a pod that is deleted was promised, and of a claim that is', () => {
    const { cluster, held } = setUp(false);
    cluster
      .claim('c')
      .claim('d')
      .pod('p', { claims: ['c'] });
    held.promise('uid-p', [one('c')]);
    held.promise('uid-q', [one('d')]);
    cluster.index.remove('pod', 'uid-p');
    assert.equal(held.heldBytes([]), 10);
    cluster.index.remove('claim', 'ns/d');
    assert.equal(held.heldBytes([]), 0);
  });

  it('charges a pod that waits for its nominated node', async () => {
    const { cluster, held, clock } = setUp(false);
    cluster.claim('c', { size: '4Gi' }).pod('p', { claims: ['c'], nominated: 'n1' });
    assert.equal(held.heldBytes([]), 6 * 2 ** 30);
    await clock.advance(1001);
    assert.equal(held.heldBytes([]), 0);
  });
});
