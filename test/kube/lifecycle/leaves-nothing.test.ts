import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PidFile } from '../../../common/fs/index.ts';
import { skip } from '../../support/skip.ts';
import { KubeCluster } from '../cluster/index.ts';
import { untilHeld } from '../host/lock.ts';
import { LOCK_FILE } from '../host/record.ts';
import { restoreHost } from '../host/restore.ts';
import { snapshot } from '../host/snapshot.ts';
import { until } from '../host/until.ts';
import { Namespace, pod } from '../pods/index.ts';
import { endSharedCluster } from '../shared.ts';

const CHILD = fileURLToPath(new URL('start-and-wait.ts', import.meta.url));
const RESTORE_MS = 60_000;
/** Another run on this machine may have the only kubelet there can be. */
const WAIT_MS = 3 * 60_000;

describe('a Kubernetes for tests that ends', () => {
  let untouched: string[];

  before(async function () {
    const missing = await KubeCluster.missing();
    if (missing !== '') skip(this, missing);
    if ((await KubeCluster.attach()) !== undefined) skip(this, 'place for another cluster than the one run by hand');
    await endSharedCluster();
    untouched = await idle(restoreHost);
  });

  it('leaves nothing on the machine, though pods were running', async () => {
    const cluster = await KubeCluster.start({ waitMs: WAIT_MS });
    try {
      const namespace = await Namespace.make(cluster);
      const limits = { cpu: '50m', memory: '32Mi', 'hugepages-2Mi': '4Mi' };
      await namespace.create(pod('orphan', { resources: { limits } }));
      await namespace.untilReady('orphan');
      assert.notDeepEqual(changes(untouched, await snapshot()), []);
    } finally {
      await cluster.stop();
    }
    assert.deepEqual(changes(untouched, await idle()), []);
  });

  it('leaves nothing either when the process that started it is killed with its process group', async () => {
    await using child = await Child.start();
    child.kill();
    await until('the machine to be as before', RESTORE_MS, async () => {
      assert.deepEqual(changes(untouched, await idle()), []);
      return true;
    });
  });

  it('is taken away by the next one where nobody was left to do it', async () => {
    await using child = await Child.start();
    await child.killReaper();
    child.kill();
    await child.ended;
    assert.notDeepEqual(changes(untouched, await snapshot()), []);
    const next = await KubeCluster.start({ waitMs: WAIT_MS });
    await next.stop();
    assert.deepEqual(changes(untouched, await idle()), []);
  });
});

/** The machine while nobody else has a cluster on it. */
async function idle(first: () => Promise<void> = async () => undefined): Promise<string[]> {
  const lock = await untilHeld(
    () => PidFile.acquire(LOCK_FILE),
    WAIT_MS,
    () => undefined,
  );
  try {
    await first();
    return await snapshot();
  } finally {
    await lock.release();
  }
}

/** Lines that one has and the other has not. */
function changes(before: readonly string[], after: readonly string[]): string[] {
  const [had, has] = [new Set(before), new Set(after)];
  return [
    ...before.filter((line) => !has.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !had.has(line)).map((line) => `+ ${line}`),
  ];
}

/** A process with a cluster and a pod in it. */
class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly ended: Promise<unknown>;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.ended = once(process, 'exit');
  }

  static async start(): Promise<Child> {
    const flags = ['--disable-warning=ExperimentalWarning', CHILD, String(WAIT_MS)];
    const child = new Child(spawn(process.execPath, flags, { detached: true, stdio: ['pipe', 'pipe', 'inherit'] }));
    const { stdout } = child.#process;
    if (stdout === null) throw new Error('a child without its pipe');
    for await (const line of createInterface(stdout)) if (line === 'running') return child;
    throw new Error('the child ended instead of running');
  }

  kill(): void {
    const { pid } = this.#process;
    if (pid !== undefined && this.#process.exitCode === null) process.kill(-pid, 'SIGKILL');
  }

  /** Its child that would clean up after it. */
  async killReaper(): Promise<void> {
    const own = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    for (const pid of own) {
      const [stat, command] = await Promise.all(
        ['stat', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
      );
      const parent = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
      if (parent === String(this.#process.pid) && command?.includes('down.ts') === true) {
        process.kill(Number(pid), 'SIGKILL');
        return;
      }
    }
    throw new Error('no process that would clean up');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.kill();
    await this.ended;
  }
}
