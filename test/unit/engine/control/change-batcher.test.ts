import assert from 'node:assert/strict';
import { NabuError } from '../../../../common/errors/index.ts';
import { runChanges } from '../../../../engine/control/change-batch.ts';
import { ChangeBatcher } from '../../../../engine/control/change-batcher.ts';
import type { nabustore } from '../../../../proto/gen/messages.js';

type Results = nabustore.v1.VolumeChangeResult[];

const CALL = { timeoutMs: 1000 };

/** Answers as control does, through the same code, and notes the sizes of the calls. */
function batcherOver(sizes: number[], beforeAnswer: () => Promise<void> = async () => undefined): ChangeBatcher {
  return new ChangeBatcher(async ({ changes }) => {
    sizes.push(changes.length);
    await beforeAnswer();
    const handlers = {
      create: async ({ name }: nabustore.v1.CreateVolumeRequest) => {
        if (name === 'taken') throw NabuError.of('VOLUME_EXISTS_DIFFERENT', { name, field: 'sizeBytes' });
        return { id: `id-of-${name}`, name };
      },
      remove: async ({ id }: nabustore.v1.DeleteVolumeRequest) => ({ existed: id === 'there' }),
    };
    return { results: (await runChanges(changes as nabustore.v1.VolumeChange[], handlers)) as Results };
  });
}

describe('changes of volumes on their way to control', () => {
  it('travel together while others are on their way, and each gets its own answer', async () => {
    const sizes: number[] = [];
    const batcher = batcherOver(sizes);
    const names = Array.from({ length: 600 }, (_, at) => `v${at}`);
    const created = await Promise.all(names.map((name) => batcher.create({ name }, CALL)));
    assert.deepEqual(
      created.map(({ id }) => id),
      names.map((name) => `id-of-${name}`),
    );
    assert.deepEqual(sizes, [256, 256, 88]);
    assert.deepEqual(await Promise.all(['there', 'gone'].map((id) => batcher.remove({ id }, CALL))), [
      { existed: true },
      { existed: false },
    ]);
  });

  it('fail alone when control refuses one, with its own error', async () => {
    const batcher = batcherOver([]);
    const [good, bad] = await Promise.allSettled([
      batcher.create({ name: 'a' }, CALL),
      batcher.create({ name: 'taken' }, CALL),
    ]);
    assert.equal(good?.status, 'fulfilled');
    assert.ok(bad?.status === 'rejected' && NabuError.is(bad.reason, 'VOLUME_EXISTS_DIFFERENT'));
    assert.deepEqual(bad.reason.fields, { name: 'taken', field: 'sizeBytes' });
  });

  it('fail together when the call itself does', async () => {
    const lost = NabuError.of('UNAVAILABLE', { target: 'control', reason: 'gone' });
    const batcher = batcherOver([], () => Promise.reject(lost));
    const settled = await Promise.allSettled([batcher.create({ name: 'a' }, CALL), batcher.remove({ id: 'b' }, CALL)]);
    for (const one of settled) assert.ok(one.status === 'rejected' && NabuError.is(one.reason, 'UNAVAILABLE'));
  });

  it('are not sent any more when their caller has gone', async () => {
    const sizes: number[] = [];
    const leaving = new AbortController();
    const batcher = batcherOver(sizes);
    const left = batcher.create({ name: 'a' }, { ...CALL, signal: leaving.signal });
    leaving.abort();
    await assert.rejects(left, { code: 'CANCELLED' });
    await batcher.create({ name: 'b' }, CALL);
    assert.deepEqual(sizes, [1]);
  });

  it('are refused by control above 256 in one call', async () => {
    const handlers = { create: async () => ({}), remove: async () => ({ existed: false }) };
    const changes = Array.from({ length: 257 }, (): nabustore.v1.VolumeChange => ({}));
    await assert.rejects(runChanges(changes, handlers), { code: 'INVALID_ARGUMENT' });
  });
});
