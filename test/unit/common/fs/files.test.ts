import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { NabuError } from '../../../../common/errors/index.ts';
import { atomicWriteFile, atomicWriteJson, readJsonFile } from '../../../../common/fs/index.ts';

describe('files of our own', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-fs-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('are replaced whole, keep to their owner and leave nothing beside them', async () => {
    const path = join(folder, 'a');
    await atomicWriteFile(path, 'one');
    await atomicWriteFile(path, Buffer.from('two'));
    assert.equal(await readFile(path, 'utf8'), 'two');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(folder), ['a']);
  });

  it('stay as they were when the write fails, and leave no temporary file', async () => {
    const path = join(folder, 'taken');
    const { mkdir } = await import('node:fs/promises');
    await mkdir(path);
    await assert.rejects(atomicWriteFile(path, 'x'));
    assert.deepEqual(await readdir(folder), ['taken']);
  });

  it('never show a reader half of two concurrent writes', async () => {
    const path = join(folder, 'a');
    const contents = ['a'.repeat(100_000), 'b'.repeat(100_000)];
    await Promise.all(Array.from({ length: 20 }, (_, i) => atomicWriteFile(path, contents[i % 2] ?? '')));
    assert(contents.includes(await readFile(path, 'utf8')));
  });

  it('come back through their schema, and are undefined when there are none', async () => {
    const path = join(folder, 'a.json');
    const schema = z.strictObject({ id: z.string(), size: z.string() });
    assert.equal(await readJsonFile(path, schema), undefined);
    await atomicWriteJson(path, { id: 'x', size: 2n ** 60n });
    assert.deepEqual(await readJsonFile(path, schema), { id: 'x', size: '1152921504606846976' });
  });

  it('are refused with their path and field when they hold something else', async () => {
    const path = join(folder, 'a.json');
    const schema = z.strictObject({ id: z.string() });
    const refused = (pattern: RegExp) => (err: unknown) =>
      NabuError.is(err, 'FILE_INVALID') && pattern.test(err.message);
    await writeFile(path, '{"id": 5}');
    await assert.rejects(readJsonFile(path, schema), refused(/a\.json.*id: /));
    await writeFile(path, '{"id": "x", "other": 1}');
    await assert.rejects(readJsonFile(path, schema), refused(/other/));
    await writeFile(path, '{"id": ');
    await assert.rejects(readJsonFile(path, schema), refused(/not JSON/));
    await chmod(path, 0o600);
    await assert.rejects(readJsonFile(folder, schema), refused(/cannot be read/));
  });
});
