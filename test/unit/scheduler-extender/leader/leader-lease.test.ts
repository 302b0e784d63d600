import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logging/index.ts';
import { SeededRandom, SimClock } from '../../../../common/ports/index.ts';
import { LeaderLease, type LeaseRecord, type LeaseStore } from '../../../../scheduler-extender/leader/index.ts';

const TIMES = { durationMs: 15_000, believeMs: 10_000, retryMs: 2000 };

/** A Lease in memory, with compare-and-swap; whoever is cut off cannot reach it. */
class MemoryLease {
  #record: LeaseRecord | undefined;
  #version = 0;
  readonly cutOff = new Set<string>();

  get holder(): string {
    return this.#record?.holder ?? '';
  }

  storeFor(identity: string): LeaseStore {
    const reachable = (): void => {
      if (this.cutOff.has(identity)) throw new Error('unreachable');
    };
    return {
      read: async () => {
        reachable();
        return this.#record;
      },
      write: async (record) => {
        reachable();
        if (record.version !== (this.#record?.version ?? '')) throw new Error('conflict');
        this.#record = { ...record, version: String(++this.#version) };
      },
    };
  }
}

describe('a lease', () => {
  let clock: SimClock;
  let lease: MemoryLease;
  let elected: string[];
  const candidate = (identity: string): LeaderLease =>
    new LeaderLease({
      store: lease.storeFor(identity),
      identity,
      times: TIMES,
      clock,
      logger: silentLogger,
      onElected: () => elected.push(identity),
    });

  beforeEach(() => {
    clock = new SimClock();
    lease = new MemoryLease();
    elected = [];
  });

  it('is held by the first, and goes on being held', async () => {
    const [a, b] = [candidate('a'), candidate('b')];
    a.start();
    await clock.advance(1);
    b.start();
    await clock.advance(60_000);
    assert.deepEqual([a.isHeld, b.isHeld, elected], [true, false, ['a']]);
    assert.equal(b.holder, 'a');
  });

  it('is given back by one that stops, and taken at once', async () => {
    const [a, b] = [candidate('a'), candidate('b')];
    a.start();
    await clock.advance(1);
    b.start();
    await clock.advance(5000);
    await a.stop();
    assert.equal(a.isHeld, false);
    await clock.advance(2001);
    assert.equal(b.isHeld, true);
  });

  it('is taken from one that is cut off only after that one has stopped believing', async () => {
    const [a, b] = [candidate('a'), candidate('b')];
    a.start();
    await clock.advance(1);
    b.start();
    await clock.advance(5000);
    lease.cutOff.add('a');
    for (let at = 0; at < 400 && !b.isHeld; at++) {
      await clock.advance(100);
      assert(!(a.isHeld && b.isHeld));
    }
    assert(b.isHeld && !a.isHeld);
    lease.cutOff.delete('a');
    await clock.advance(10_000);
    assert.deepEqual([a.isHeld, b.isHeld, elected], [false, true, ['a', 'b']]);
  });

  it('is never believed by two, whoever is cut off when', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new SeededRandom(seed);
      clock = new SimClock();
      lease = new MemoryLease();
      const all = ['a', 'b', 'c'].map((identity) => ({ identity, lease: candidate(identity) }));
      for (const one of all) one.lease.start();
      let held = 0;
      for (let step = 0; step < 300; step++) {
        const victim = all[random.uint32() % 3]?.identity ?? 'a';
        if (random.uint32() % 20 === 0) lease.cutOff.add(victim);
        else if (random.uint32() % 10 === 0) lease.cutOff.delete(victim);
        await clock.advance(random.uint32() % 1500);
        const believers = all.filter((one) => one.lease.isHeld).length;
        assert(believers <= 1, `seed ${seed}`);
        held += believers;
      }
      assert(held > 50, `seed ${seed}: somebody holds it most of the time`);
      for (const one of all) await one.lease.stop();
    }
  });
});
