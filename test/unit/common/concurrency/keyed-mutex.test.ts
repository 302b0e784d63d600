import assert from 'node:assert/strict';
import fc from 'fast-check';
import { KeyedMutex } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { SeededRandom } from '../../../../common/ports/index.ts';

const code = (wanted: string) => (err: unknown) => NabuError.is(err) && err.code === wanted;

describe('KeyedMutex', () => {
  it('has one holder per key, in order of arrival, and forgets keys that nobody holds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 }),
        fc.integer(),
        async (keys, seed) => {
          const random = new SeededRandom(seed);
          const mutex = new KeyedMutex<number>({ name: 'm', maxWaiters: 100 });
          const inside = new Set<number>();
          const done = new Map<number, number[]>();
          await Promise.all(
            keys.map((key, index) =>
              mutex.run(key, async () => {
                assert(!inside.has(key));
                inside.add(key);
                for (let n = random.uint32() % 5; n > 0; n--) await Promise.resolve();
                inside.delete(key);
                done.set(key, [...(done.get(key) ?? []), index]);
              }),
            ),
          );
          for (const order of done.values())
            assert.deepEqual(
              order,
              [...order].sort((a, b) => a - b),
            );
          assert.equal(mutex.size, 0);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('does not let one key wait for another', async () => {
    const mutex = new KeyedMutex<string>({ name: 'm', maxWaiters: 1 });
    const release = await mutex.acquire('a');
    assert.equal(await mutex.run('b', () => 'free'), 'free');
    assert(mutex.isHeld('a') && !mutex.isHeld('b'));
    release();
  });

  it('refuses one waiter too many and lets a waiter leave', async () => {
    const mutex = new KeyedMutex<string>({ name: 'volume', maxWaiters: 1 });
    const release = await mutex.acquire('a');
    const leaving = new AbortController();
    const waiting = mutex.acquire('a', leaving.signal);
    await assert.rejects(mutex.acquire('a'), (err) => code('QUEUE_FULL')(err) && /volume a/.test(String(err)));
    leaving.abort();
    await assert.rejects(waiting, code('CANCELLED'));
    release();
    release();
    assert.equal(mutex.size, 0);
  });

  it('releases when the work throws', async () => {
    const mutex = new KeyedMutex<string>({ name: 'm', maxWaiters: 1 });
    await assert.rejects(
      mutex.run('a', () => {
        throw new Error('no');
      }),
      /no/,
    );
    assert.equal(mutex.size, 0);
  });
});
