import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/ports/index.ts';
import { UNLIMITED } from './memlock.ts';

/** Names in /proc/PID/comm of what runs containers, cut to 15 characters as the kernel has them. */
const RUNTIMES: readonly string[] = ['containerd', 'crio'];
/** Of linux/capability.h: may raise a limit above its hard one. */
const CAP_SYS_RESOURCE = 24n;
const REMEMBERED_MS = 60_000;

const commOf = async (procRoot: string, pid: string): Promise<string> =>
  (await readFile(join(procRoot, pid, 'comm'), 'utf8')).trim();

/**
 * Why the container runtime of this machine could not give a process this limit, though it were asked to: it would fail each
 * container that we change. Undefined where it can, or where no runtime is to be seen, as from a pod without hostPID. Never rejects.
 */
export async function cannotRaise(procRoot: string, bytes: bigint): Promise<string | undefined> {
  const pids = (await readdir(procRoot).catch(() => [])).filter((name) => /^\d+$/.test(name));
  let reason: string | undefined;
  for (const pid of pids) {
    const found = await reasonOf(procRoot, pid, bytes).catch(() => undefined); // it has ended, or is not ours to read
    if (found === 'may') return undefined;
    reason ??= found;
  }
  return reason;
}

/** The same, looked up again at most once in a while: a machine has thousands of processes, and a container waits. */
export class RuntimeRights {
  readonly #procRoot: string;
  readonly #bytes: bigint;
  readonly #clock: Clock;
  #found: Promise<string | undefined> | undefined;
  #atMs = 0;

  constructor(procRoot: string, bytes: bigint, clock: Clock) {
    this.#procRoot = procRoot;
    this.#bytes = bytes;
    this.#clock = clock;
  }

  cannotRaise(): Promise<string | undefined> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#found === undefined || nowMs - this.#atMs > REMEMBERED_MS) {
      this.#found = cannotRaise(this.#procRoot, this.#bytes);
      this.#atMs = nowMs;
    }
    return this.#found;
  }
}

/** Undefined for what is no runtime. */
async function reasonOf(procRoot: string, pid: string, bytes: bigint): Promise<string | undefined> {
  const comm = await commOf(procRoot, pid);
  if (!RUNTIMES.includes(comm)) return undefined;
  const status = await readFile(join(procRoot, pid, 'status'), 'utf8');
  const effective = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status)?.[1];
  if (effective === undefined) return undefined;
  if ((BigInt(`0x${effective}`) >> CAP_SYS_RESOURCE) % 2n === 1n) return 'may';
  const limits = await readFile(join(procRoot, pid, 'limits'), 'utf8');
  const hard = /^Max locked memory\s+\S+\s+(\d+|unlimited)\s/m.exec(limits)?.[1];
  if (hard === undefined) return undefined;
  if ((hard === 'unlimited' ? UNLIMITED : BigInt(hard)) >= bytes) return 'may';
  return `${comm} (pid ${pid}) has no CAP_SYS_RESOURCE and a hard limit of ${hard} bytes itself`;
}
