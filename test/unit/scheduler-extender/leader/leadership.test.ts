import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SimClock } from '../../../../common/ports/index.ts';
import { LeaderLease, Leadership, type LeaseRecord } from '../../../../scheduler-extender/leader/index.ts';

function setUp(catchUp: (notBeforeMs: number) => Promise<void>, taken?: LeaseRecord) {
  const clock = new SimClock();
  let record: LeaseRecord | undefined = taken;
  let version = 0;
  const store = {
    read: async () => record,
    write: async (written: LeaseRecord) => {
      record = { ...written, version: String(++version) };
    },
  };
  const answered: (string | undefined)[] = [];
  const leadership: Leadership = new Leadership({
    catchUp,
    graceMs: 2000,
    onAnswering: () => answered.push(leadership.refuses()),
    clock,
    logger: silentLogger,
  });
  const lease = new LeaderLease({
    store,
    identity: 'me',
    clock,
    logger: silentLogger,
    onElected: () => leadership.elected(),
  });
  return { clock, leadership, lease, answered, steal: (by: LeaseRecord) => (record = by) };
}

const other: LeaseRecord = { holder: 'other', durationMs: 15_000, renewedAt: 'then', transitions: 3, version: '9' };

describe('who is elected', () => {
  it('answers only after a moment and a look at what was decided before', async () => {
    const looks: number[] = [];
    const gate = Promise.withResolvers<void>();
    const { clock, leadership, lease } = setUp(async (notBeforeMs) => {
      looks.push(notBeforeMs);
      await gate.promise;
    });
    assert.match(leadership.refuses() ?? '', /finds out/);
    leadership.lead(lease);
    await clock.advance(1999);
    assert.deepEqual(looks, []);
    await clock.advance(1);
    assert.deepEqual(looks, [2000]);
    assert.match(leadership.refuses() ?? '', /finds out what has been decided before/);
    gate.resolve();
    await clock.advance(1);
    assert.equal(leadership.refuses(), undefined);
  });

  it('looks again where that fails, from the same moment on', async () => {
    let failures = 2;
    const { clock, leadership } = setUp(async () => {
      if (failures-- > 0) throw new Error('unreachable');
    });
    leadership.lead();
    await clock.advance(2001);
    assert.match(leadership.refuses() ?? '', /finds out/);
    await clock.advance(1001);
    assert.equal(leadership.refuses(), undefined);
  });

  it('answers no more when another one holds the Lease, and starts over when it is elected again', async () => {
    let looks = 0;
    const { clock, leadership, lease, answered, steal } = setUp(async () => {
      looks++;
    });
    leadership.lead(lease);
    await clock.advance(3000);
    assert.equal(leadership.refuses(), undefined);
    steal(other);
    await clock.advance(2001);
    assert.match(leadership.refuses() ?? '', /another one answers, other/);
    await clock.advance(15_000);
    assert.match(leadership.refuses() ?? '', /finds out/);
    await clock.advance(4000);
    assert.deepEqual([leadership.refuses(), looks], [undefined, 2]);
    assert.deepEqual(answered, [undefined, undefined], 'it says so each time, when it does');
    await leadership.stop();
    assert.notEqual(leadership.refuses(), undefined);
  });

  it('says so while nobody is', async () => {
    const { clock, leadership, lease } = setUp(async () => undefined, other);
    leadership.lead(lease);
    assert.match(leadership.refuses() ?? '', /nobody is elected yet/);
    await clock.advance(1);
    assert.match(leadership.refuses() ?? '', /another one answers, other/);
  });
});
