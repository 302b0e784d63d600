import { readFile } from 'node:fs/promises';

/** One life of one process: a pid alone is reused. `startTicks` is field 22 of /proc/PID/stat (proc(5)), per boot. */
export type ProcessIdentity = { readonly pid: number; readonly startTicks: string; readonly bootId: string };

type Stat = { readonly state: string; readonly startTicks: string };

async function readStat(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The second field is the command in parentheses and may hold anything, spaces and parentheses too.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const state = fields?.[0];
  const startTicks = fields?.[19];
  return state === undefined || startTicks === undefined ? undefined : { state, startTicks };
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** Who a pid is now; undefined when there is no such process or it is a zombie: dead, and only not reaped yet. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readStat(pid);
  if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return undefined;
  return { pid, startTicks: stat.startTicks, bootId: await bootId() };
}

/** Whether that very process lives. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identifyProcess(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}
