import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Release, Semaphore } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';
import { SeededRandom } from '../../../../common/ports/index.ts';

const code = (wanted: string) => (err: unknown) => NabuError.is(err) && err.code === wanted;

describe('Semaphore', () => {
  it('never hands out more permits than it has, whatever is asked for and given back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 8 }), fc.integer(), async (permits, seed) => {
        const random = new SeededRandom(seed);
        const semaphore = new Semaphore({ name: 's', permits, maxWaiters: 1000 });
        let out = 0;
        const worker = async (): Promise<void> => {
          for (let i = 0; i < 10; i++) {
            const want = 1 + (random.uint32() % permits);
            await semaphore.run(
              async () => {
                out += want;
                assert(out <= permits);
                for (let n = random.uint32() % 4; n > 0; n--) await Promise.resolve();
                out -= want;
              },
              { permits: want },
            );
          }
        };
        await Promise.all(Array.from({ length: 12 }, worker));
        assert.equal(semaphore.free, permits);
        assert.equal(semaphore.waiting, 0);
      }),
      { numRuns: 30 },
    );
  });

  it('serves in order of arrival: small requests do not overtake a large one', async () => {
    const semaphore = new Semaphore({ name: 's', permits: 4, maxWaiters: 10 });
    const order: string[] = [];
    const first = await semaphore.acquire(3);
    const large = semaphore.acquire(4).then((release) => {
      order.push('large');
      release();
    });
    const small = semaphore.acquire(1).then((release) => {
      order.push('small');
      release();
    });
    assert.equal(semaphore.tryAcquire(1), undefined);
    first();
    await Promise.all([large, small]);
    assert.deepEqual(order, ['large', 'small']);
  });

  it('refuses one waiter too many with QUEUE_FULL', async () => {
    const semaphore = new Semaphore({ name: 'jobs', permits: 1, maxWaiters: 1 });
    const held = await semaphore.acquire();
    const waiting = semaphore.acquire();
    await assert.rejects(semaphore.acquire(), code('QUEUE_FULL'));
    held();
    (await waiting)();
  });

  it('lets a waiter leave and lets those behind it through', async () => {
    const semaphore = new Semaphore({ name: 'jobs', permits: 4, maxWaiters: 4 });
    const held = await semaphore.acquire(2);
    const leaving = new AbortController();
    const large = semaphore.acquire(4, leaving.signal);
    const small = semaphore.acquire(2);
    leaving.abort();
    await assert.rejects(large, code('CANCELLED'));
    (await small)();
    held();
    assert.equal(semaphore.free, 4);
    await assert.rejects(semaphore.acquire(1, leaving.signal), code('CANCELLED'));
  });

  it('takes a second release of the same permits for nothing', async () => {
    const semaphore = new Semaphore({ name: 'jobs', permits: 2, maxWaiters: 1 });
    const release: Release = await semaphore.acquire();
    release();
    release();
    assert.equal(semaphore.free, 2);
  });

  it('refuses requests that it could never serve', async () => {
    const semaphore = new Semaphore({ name: 'jobs', permits: 2, maxWaiters: 1 });
    for (const permits of [0, -1, 3, 1.5, Number.NaN]) {
      await assert.rejects(semaphore.acquire(permits), code('INVALID_ARGUMENT'));
    }
  });

  it('gives the permits back when the work fails', async () => {
    const semaphore = new Semaphore({ name: 'jobs', permits: 1, maxWaiters: 1 });
    await assert.rejects(
      semaphore.run(() => {
        throw new Error('no');
      }),
      /no/,
    );
    assert.equal(semaphore.free, 1);
  });
});
