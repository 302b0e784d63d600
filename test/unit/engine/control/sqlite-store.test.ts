import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteStore } from '../../../../engine/control/index.ts';

describe('sqlite resource store', () => {
  let folder: string;
  let store: SqliteStore;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-store-'));
    store = new SqliteStore(join(folder, 'control.db'));
  });

  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  const put = (id: string, expected: bigint, name: string | null = null, body: unknown = { id }) =>
    store.put({ kind: 'k', id, name, expected, body });

  it('lets exactly one of many writers with the same version through', async () => {
    const { version } = await put('a', 0n);
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, (_, at) => put('a', version, null, { at })));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'RESOURCE_CONFLICT');
  });

  it('refuses a second resource under a name of the kind, also within one transaction', async () => {
    const outcomes = await Promise.allSettled([put('a', 0n, 'n'), put('b', 0n, 'n'), put('c', 0n)]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.equal((await store.getByName('k', 'n'))?.id, 'a');
    assert.equal(await store.get('k', 'b'), undefined);
  });

  it('raises the version with every write, also over a delete and a restart', async () => {
    const first = await put('a', 0n);
    await store.delete({ kind: 'k', id: 'a', expected: first.version });
    await store.close();
    store = new SqliteStore(join(folder, 'control.db'));
    assert.equal(await store.get('k', 'a'), undefined);
    assert.ok((await put('a', 0n)).version > first.version + 1n);
  });

  it('keeps what it acknowledged over a restart', async () => {
    await Promise.all(Array.from({ length: 100 }, (_, at) => put(`id${at}`, 0n, `name${at}`, { at })));
    await store.close();
    store = new SqliteStore(join(folder, 'control.db'));
    assert.deepEqual((await store.getByName('k', 'name42'))?.body, { at: 42 });
    assert.equal((await store.list('k', '', 1000)).length, 100);
    assert.deepEqual(
      (await store.list('k', 'id97', 2)).map(({ id }) => id),
      ['id98', 'id99'],
    );
  });

  it('tells watchers of each change in order, after it is durable', async () => {
    const seen: string[] = [];
    const stop = store.watch('k', ({ id, after }) => seen.push(after === null ? `-${id}` : id));
    const { version } = await put('a', 0n);
    await Promise.all([put('b', 0n), store.delete({ kind: 'k', id: 'a', expected: version })]);
    stop();
    await put('c', 0n);
    assert.deepEqual(seen, ['a', 'b', '-a']);
  });

  it('refuses a file that is no database, and one that another process holds', async () => {
    const path = join(folder, 'not-a-database');
    await writeFile(path, 'x'.repeat(8192));
    assert.throws(() => new SqliteStore(path), { code: 'FILE_INVALID' });
    assert.throws(() => new SqliteStore(join(folder, 'control.db')), { code: 'FILE_INVALID' });
  }).timeout(10_000);

  it('refuses calls after it was closed', async () => {
    await store.close();
    await assert.rejects(put('a', 0n), { code: 'UNAVAILABLE' });
    await assert.rejects(store.get('k', 'a'), { code: 'UNAVAILABLE' });
  });
});
