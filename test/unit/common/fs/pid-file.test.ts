import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NabuError } from '../../../../common/errors/index.ts';
import { identifyProcess, isAlive, PidFile, readPidFile } from '../../../../common/fs/index.ts';

describe('PidFile', () => {
  let folder: string;
  let path: string;
  let children: ChildProcess[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nabu-pid-'));
    path = join(folder, 'run', 'a.pid');
    children = [];
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  async function start(...command: [string, ...string[]]): Promise<number> {
    const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'ignore'] });
    children.push(child);
    await once(child, 'spawn');
    assert(child.pid !== undefined);
    return child.pid;
  }

  async function stop(pid: number): Promise<void> {
    const child = children.find((one) => one.pid === pid);
    assert(child !== undefined);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  it('is held against a second claim and free after release', async () => {
    const held = await PidFile.acquire(path);
    assert.equal((await readPidFile(path))?.pid, process.pid);
    await assert.rejects(
      PidFile.acquire(path),
      (err) => NabuError.is(err, 'LOCK_HELD') && err.fields.pid === process.pid,
    );
    await held.release();
    assert.equal(await readPidFile(path), undefined);
    await (await PidFile.acquire(path)).release();
    assert.deepEqual(await readdir(join(folder, 'run')), []);
  });

  it('passes to the next when its holder is dead', async () => {
    const pid = await start('sleep', '60');
    const dead = await PidFile.acquire(path, pid);
    await stop(pid);
    assert.equal(await readPidFile(path), undefined);
    const next = await PidFile.acquire(path);
    await dead.release(); // no longer the dead one's to remove
    assert.equal((await readPidFile(path))?.pid, process.pid);
    await next.release();
  });

  it('is not held by a zombie', async () => {
    // The shell's child ends at once and the shell, replaced by sleep, never reaps it.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(parent);
    const [line]: Buffer[] = await once(parent.stdout, 'data');
    const zombie = Number(line?.toString());
    for (let state = ''; state !== 'Z'; ) {
      const text = await readFile(`/proc/${zombie}/stat`, 'utf8');
      state = text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
      await new Promise((resolve) => setImmediate(resolve));
    }
    process.kill(zombie, 0); // it still takes signals
    assert.equal(await identifyProcess(zombie), undefined);
  });

  it('is not held by another process that got the same pid', async () => {
    const identity = await identifyProcess(process.pid);
    assert(identity !== undefined && (await isAlive(identity)));
    assert.equal(await isAlive({ ...identity, startTicks: '1' }), false);
    assert.equal(await isAlive({ ...identity, bootId: 'another boot' }), false);
  });

  it('is won by exactly one of many claims over a dead holder', async () => {
    const pid = await start('sleep', '60');
    await PidFile.acquire(path, pid);
    await stop(pid);
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => PidFile.acquire(path)));
    assert.equal(claims.filter((claim) => claim.status === 'fulfilled').length, 1);
    assert.equal((await readPidFile(path))?.pid, process.pid);
  });

  it('replaces content that is no pid file, and refuses a pid that does not exist', async () => {
    await (await PidFile.acquire(path)).release();
    await writeFile(path, 'garbage');
    assert.equal(await readPidFile(path), undefined);
    await PidFile.acquire(path);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const gone = await start('true');
    await stop(gone).catch(() => undefined);
    await assert.rejects(PidFile.acquire(join(folder, 'b'), gone), (err) => NabuError.is(err, 'INVALID_ARGUMENT'));
  });
});
