import assert from 'node:assert/strict';
import { SingleFlight } from '../../../../common/concurrency/index.ts';
import { NabuError } from '../../../../common/errors/index.ts';

describe('SingleFlight', () => {
  it('runs once for calls that overlap and again for a later one', async () => {
    const flights = new SingleFlight<string, number>();
    let runs = 0;
    const work = async (): Promise<number> => {
      await Promise.resolve();
      return ++runs;
    };
    assert.deepEqual(
      await Promise.all([flights.run('a', work), flights.run('a', work), flights.run('b', work)]),
      [1, 1, 2],
    );
    assert.equal(flights.size, 0);
    assert.equal(await flights.run('a', work), 3);
  });

  it('shares a failure and does not remember it', async () => {
    const flights = new SingleFlight<string, number>();
    const failing = async (): Promise<number> => {
      throw new Error('no');
    };
    const both = await Promise.allSettled([flights.run('a', failing), flights.run('a', failing)]);
    assert(both.every((result) => result.status === 'rejected'));
    assert.equal(await flights.run('a', async () => 5), 5);
  });

  it('shares the failure of work that throws before it returns a promise', async () => {
    const flights = new SingleFlight<string, number>();
    const broken = (): Promise<number> => {
      throw new Error('at once');
    };
    await assert.rejects(flights.run('a', broken), /at once/);
    assert.equal(flights.size, 0);
  });

  it('lets one caller leave while the others get the result', async () => {
    const flights = new SingleFlight<string, number>();
    const { promise, resolve } = Promise.withResolvers<number>();
    const leaving = new AbortController();
    const left = flights.run('a', () => promise, leaving.signal);
    const stays = flights.run('a', () => promise);
    leaving.abort();
    await assert.rejects(left, (err) => NabuError.is(err, 'CANCELLED'));
    resolve(1);
    assert.equal(await stays, 1);
  });
});
