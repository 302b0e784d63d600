import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SimClock } from '../../../../common/ports/index.ts';
import { type CdiContent, CdiSpecs, cdiKind, specName } from '../../../../device-plugin/cdi/index.ts';

const KIND = cdiKind('nabustore.io/claim');
const CHILD = fileURLToPath(new URL('./crashing-writer.ts', import.meta.url));
const content = (value: string): CdiContent => ({ devices: [{ name: 'a', containerEdits: { env: [`A=${value}`] } }] });

describe('CdiSpecs', () => {
  let folder = '';
  let specs: CdiSpecs;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-cdi-'));
    specs = new CdiSpecs({ folder, kind: KIND });
  });
  afterEach(async () => await rm(folder, { recursive: true, force: true }));

  it('writes files as CDI names them, replaces them, reads them back and removes them', async () => {
    const name = specName('7f2b');
    const written = await specs.write(name, content('1'));
    const path = join(folder, 'nabustore.io-claim_7f2b.json');
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), written);
    assert.equal((await stat(path)).mode & 0o777, 0o644);
    await specs.write(name, content('2'));
    assert.deepEqual(await specs.read(name), { cdiVersion: '0.3.0', kind: KIND, ...content('2') });
    assert.deepEqual(await specs.list(), [name]);
    assert.equal(await specs.remove(name), true);
    assert.equal(await specs.remove(name), false);
    assert.equal(await specs.read(name), undefined);
    assert.deepEqual(await readdir(folder), []);
    assert.equal(specs.nameOf('a'), 'nabustore.io/claim=a');
  });

  it('leaves a file alone that says what is wanted, and makes it right otherwise', async () => {
    const name = specName('7f2b');
    const path = join(folder, 'nabustore.io-claim_7f2b.json');
    assert.equal(await specs.ensure(name, content('1')), true);
    const { ino } = await stat(path);
    assert.equal(await specs.ensure(name, content('1')), false);
    assert.equal((await stat(path)).ino, ino);
    assert.equal(await specs.ensure(name, content('2')), true);
    await writeFile(path, '{"half a fi');
    assert.equal(await specs.ensure(name, content('2')), true);
    assert.deepEqual((await specs.read(name))?.devices, content('2').devices);
  });

  it('makes the folder at start, and again when someone removed it meanwhile', async () => {
    const deep = new CdiSpecs({ folder: join(folder, 'run/cdi'), kind: KIND });
    assert.deepEqual(await deep.list(), []);
    await deep.start();
    assert.equal((await stat(join(folder, 'run/cdi'))).mode & 0o777, 0o755);
    await rm(join(folder, 'run'), { recursive: true });
    assert.equal(await deep.remove(specName('a')), false);
    await deep.write(specName('a'), content('1'));
    assert.deepEqual(await deep.list(), ['a']);
  });

  it('touches nothing of other vendors, of other kinds, or that it does not name so itself', async () => {
    const others = [
      'nvidia.com-gpu.json',
      'nabustore.io-claims_a.json',
      'nabustore.io-claims_a.json.1.tmp',
      'nabustore.io-claim.json',
      'nabustore.io-claim_.json',
      'nabustore.io-claim_a.yaml',
      'spec.1.tmp',
    ];
    for (const file of others) await writeFile(join(folder, file), '');
    await mkdir(join(folder, 'sub'));
    await writeFile(join(folder, 'nabustore.io-claim_a.json.77.x.tmp'), 'half a fi');
    await utimes(join(folder, 'nabustore.io-claim_a.json.77.x.tmp'), 0, 0);
    await specs.start();
    await specs.write(specName('a'), content('1'));
    await specs.write(specName('b'), content('1'));
    assert.deepEqual(await specs.keepOnly([specName('b'), specName('never-there')]), ['a']);
    assert.deepEqual((await readdir(folder)).sort(), [...others, 'nabustore.io-claim_b.json', 'sub'].sort());
  });

  it('leaves at start what another process may still be writing, and removes it when it has been left for minutes', async () => {
    const unfinished = 'nabustore.io-claim_a.json.77.x.tmp';
    await writeFile(join(folder, unfinished), 'half a fi');
    await specs.start();
    assert.deepEqual(await readdir(folder), [unfinished]);
    const { mtimeMs } = await stat(join(folder, unfinished));
    const startAt = async (nowMs: number): Promise<readonly string[]> => {
      await new CdiSpecs({ folder, kind: KIND, clock: new SimClock(nowMs) }).start();
      return await readdir(folder);
    };
    assert.deepEqual(await startAt(Math.floor(mtimeMs) + 5 * 60_000 - 1), [unfinished]);
    assert.deepEqual(await startAt(Math.ceil(mtimeMs) + 5 * 60_000), []);
  });

  it('leaves what was there when new content is refused or the disk does not take it', async () => {
    const name = specName('a');
    await specs.write(name, content('1'));
    await assert.rejects(specs.write(name, { devices: [] }), { code: 'INVALID_ARGUMENT' });
    assert.deepEqual((await specs.read(name))?.devices, content('1').devices);
    await writeFile(join(folder, 'file'), '');
    const blocked = new CdiSpecs({ folder: join(folder, 'file'), kind: KIND });
    await assert.rejects(blocked.start(), { code: 'PATH_UNUSABLE' });
    await assert.rejects(blocked.write(name, content('1')), { code: 'PATH_UNUSABLE' });
    await assert.rejects(blocked.list(), { code: 'PATH_UNUSABLE' });
    assert.throws(() => new CdiSpecs({ folder: 'run', kind: KIND }), { code: 'INVALID_ARGUMENT' });
  });

  it('refuses to read a file that is not as it writes them', async () => {
    for (const body of ['', '{', '{"kind": "nabustore.io/claim"}', 'null']) {
      await writeFile(join(folder, 'nabustore.io-claim_a.json'), body);
      await assert.rejects(specs.read(specName('a')), { code: 'FILE_INVALID' });
    }
    assert.deepEqual(await specs.list(), ['a'], 'it is there, and can be removed');
  });

  it('does the changes of one file in the order of the calls', async () => {
    const name = specName('a');
    const changes: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) changes.push(specs.write(name, content(String(i))), specs.remove(name));
    changes.push(specs.write(name, content('last')));
    await Promise.all(changes);
    assert.deepEqual((await specs.read(name))?.devices, content('last').devices);
    assert.deepEqual(await readdir(folder), ['nabustore.io-claim_a.json']);
  });

  it('survives a kill between any two operations: the old file or the new, and nothing else after a start minutes later', async function () {
    this.timeout(60_000);
    const name = specName('a');
    const seen = new Set<string>();
    for (let step = 1; ; step++) {
      await specs.write(name, content('old'));
      await specs.write(specName('orphan'), content('old'));
      const child = spawn(process.execPath, [CHILD, folder, String(step)], { stdio: 'inherit' });
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      assert.ok(code === 0 || signal === 'SIGKILL', `exit ${code} ${signal}`);
      const next = new CdiSpecs({ folder, kind: KIND, clock: new SimClock(Date.now() + 10 * 60_000) });
      await next.start();
      for (const file of await readdir(folder)) assert.match(file, /^nabustore\.io-claim_(a|orphan)\.json$/);
      const value = JSON.stringify((await next.read(name))?.devices);
      assert.ok(
        [content('old'), content('new')].some(({ devices }) => JSON.stringify(devices) === value),
        value,
      );
      seen.add(`${value === JSON.stringify(content('new').devices) ? 'new' : 'old'} ${(await next.list()).length}`);
      if (code === 0) break;
      assert.ok(step < 100, 'the child never gets to its end');
    }
    assert.deepEqual([...seen], ['old 2', 'new 2', 'new 1'], 'each state that there is was met, in this order');
  });
});
