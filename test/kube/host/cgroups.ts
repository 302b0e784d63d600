import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mounts } from './mounts.ts';
import { until } from './until.ts';

const END_MS = 30_000;
/** Of the first version, in which every controller has a tree of its own: one of them says which processes are ours. */
const TRACKING_CONTROLLER = 'pids';

/**
 * One control group of this name in every hierarchy of the machine: all that a cluster starts lives in it or below it, and so
 * is found and ended whoever its parent was.
 */
export class Cgroup {
  readonly name: string;
  readonly #folders: readonly string[];
  readonly #tracking: string;

  private constructor(name: string, folders: readonly string[], tracking: string) {
    this.name = name;
    this.#folders = folders;
    this.#tracking = tracking;
  }

  /** The group, whether it is there or not. */
  static async named(name: string): Promise<Cgroup> {
    const all = await mounts();
    const first = all.filter(({ type }) => type === 'cgroup');
    const second = all.filter(({ type }) => type === 'cgroup2');
    // A machine with both has the controllers in the first, and runc makes its groups in the second as well.
    const tracking = first.find(({ options }) => options.includes(TRACKING_CONTROLLER)) ?? second[0];
    if (tracking === undefined) throw new Error('no cgroup hierarchy that counts processes is mounted');
    const folders = [...first, ...second].map(({ at }) => join(at, name));
    return new Cgroup(name, folders, join(tracking.at, name));
  }

  async make(): Promise<void> {
    for (const folder of this.#folders) {
      await this.#enableControllers(folder);
      await mkdir(folder, { recursive: true });
      // A new cpuset of the first version is empty, and takes no process while it is.
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        const own = await readFile(join(folder, file), 'utf8').catch(() => undefined);
        if (own?.trim() === '') await writeFile(join(folder, file), await readFile(join(folder, '..', file), 'utf8'));
      }
    }
    await mkdir(this.processesFolder, { recursive: true });
  }

  /** Of the second version: a group has the controllers that its parent hands on. */
  async #enableControllers(folder: string): Promise<void> {
    const controllers = await readFile(join(folder, '../cgroup.controllers'), 'utf8').catch(() => '');
    const words = controllers.trim().split(/\s+/).filter(Boolean);
    if (words.length === 0) return;
    await writeFile(join(folder, '../cgroup.subtree_control'), words.map((word) => `+${word}`).join(' '));
  }

  /** Where the processes of the cluster itself are; the pods' are in groups beside it. */
  get processesFolder(): string {
    return join(this.#tracking, 'system');
  }

  /** Runs a program as a member from its first instruction on: everything that it starts is one too. */
  command(program: string, args: readonly string[]): readonly [string, readonly string[]] {
    const script = 'echo $$ >"$0/cgroup.procs" && exec "$@"';
    return ['/bin/sh', ['-c', script, this.processesFolder, program, ...args]];
  }

  /** Living processes in the group and below it. */
  async members(): Promise<number[]> {
    const found = new Set<number>();
    for (const folder of this.#folders) {
      for (const group of await treeOf(folder)) {
        const text = await readFile(join(group, 'cgroup.procs'), 'utf8').catch(() => '');
        for (const pid of text.split('\n').filter(Boolean)) found.add(Number(pid));
      }
    }
    const living = await Promise.all([...found].map(async (pid) => [pid, await isLiving(pid)] as const));
    return living.filter(([, lives]) => lives).map(([pid]) => pid);
  }

  /** SIGKILL for all until none is left: one that forks meanwhile is caught in the next round. */
  async kill(): Promise<void> {
    await until(`no process in the control group ${this.name}`, END_MS, async () => {
      const members = await this.members();
      for (const pid of members) kill(pid);
      return members.length === 0 ? true : undefined;
    });
  }

  async remove(): Promise<void> {
    await until(`no control group ${this.name}`, END_MS, async () => {
      for (const folder of this.#folders) {
        for (const group of (await treeOf(folder)).reverse()) await rmdir(group);
      }
      return true;
    });
  }

  /** Folders that are there. */
  async leftovers(): Promise<string[]> {
    return (await Promise.all(this.#folders.map(treeOf))).flat();
  }
}

/** A group and all below it, parents first; empty where there is none. */
async function treeOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [];
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map(({ name }) => treeOf(join(folder, name))),
  );
  return [folder, ...below.flat()];
}

/** A process that has ended and is not reaped yet is a member still. */
async function isLiving(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  return state !== '' && state !== 'Z' && state !== 'X';
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (err) {
    if (Reflect.get(Object(err), 'code') !== 'ESRCH') throw err;
  }
}
